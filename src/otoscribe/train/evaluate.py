"""A trained run and recordings → captions, by the run's best epoch in PyTorch: no export is needed."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from otoscribe.datasets.folder import CaptionedClip
from otoscribe.model.caption_model import CaptionModel
from otoscribe.model.encoders.base import load_encoder
from otoscribe.model.torch_stepper import TorchStepper
from otoscribe.progress import Progress
from otoscribe.search.beam import search
from otoscribe.search.options import Search
from otoscribe.text.vocabulary import Vocabulary
from otoscribe.train.batches import pad
from otoscribe.train.embed import features_of
from otoscribe.train.run import load_run
from otoscribe.train.trainer import RuntimeSettings, device_of
from otoscribe.train.waveforms import tuned_features_of

CLIPS = 32
"""Clips that are searched together."""


def evaluate(
    run: Path,
    clips: Sequence[CaptionedClip],
    *,
    options: Search,
    features: Path,
    weights: Path | None = None,
    words: Path | None = None,
    runtime: RuntimeSettings | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Caption recordings.

    Args:
        run: folder of a training run.
        clips: the recordings; what people wrote about them is not looked at.
        options: how captions are searched.
        features: folder of what encoders made of recordings.
        weights: folder of a frozen encoder's weights, see `load_encoder`.
        words: folder of the word embedding's published files, see `load_run`.
        runtime: where to compute.
        progress: called for every recording that was encoded, and for every one that has its caption.

    Returns:
        The best caption of each clip.

    Raises:
        RunError: the run is incomplete or damaged, or features cannot be stored.
        WeightsError: the encoder's weights, or words' files that are needed, are not there, or others than
            the run's.
        AudioError: a recording cannot be read.
        UsageError: there is no such device.
    """
    device = device_of(runtime or RuntimeSettings())
    model, vocabulary, settings = load_run(run, words)
    model.to(device)
    if model.encoder is None:
        encoder = load_encoder(settings.model.encoder, weights).to(device)
        encoded = features_of(clips, encoder, features, settings.data.precision, progress)
    else:
        encoded = tuned_features_of(clips, model.encoder, progress)
    return captions_of(model, vocabulary, encoded, options, progress)


def captions_of(
    model: CaptionModel,
    vocabulary: Vocabulary,
    encoded: Sequence[Tensor],
    options: Search,
    progress: Progress | None = None,
) -> list[str]:
    """Caption what the encoder made of recordings.

    Args:
        model: in evaluation mode; computes on the device where it is.
        vocabulary: of the model.
        encoded: per clip [frames, width].
        options: how captions are searched.
        progress: called for every recording that has its caption.

    Returns:
        The best caption of each clip.
    """
    device = next(model.parameters()).device
    captions = [""] * len(encoded)
    # Clips of like length together, so that little is padded.
    order = sorted(range(len(encoded)), key=lambda clip: len(encoded[clip]))
    for start in range(0, len(order), CLIPS):
        chosen = order[start : start + CLIPS]
        batch, mask = pad([encoded[clip] for clip in chosen])
        with torch.inference_mode():
            memory = model.remember(batch.to(device), None if mask is None else mask.to(device))
        for clip, found in zip(chosen, search(TorchStepper(model, *memory), options), strict=True):
            captions[clip] = vocabulary.decode(found[0].tokens)
        if progress:
            progress("captioning", start + len(chosen), len(encoded))
    return captions
