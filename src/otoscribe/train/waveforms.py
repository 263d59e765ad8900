"""Recordings as a source of batches, for an encoder that is trained along: it runs anew at every step."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from otoscribe.audio import reading
from otoscribe.datasets.folder import CaptionedClip
from otoscribe.errors import AudioWarning
from otoscribe.model.caption_model import CaptionModel
from otoscribe.model.encoders.base import Encoder
from otoscribe.progress import Progress
from otoscribe.train.batches import Batch, Clips, Memory, Rows, pad


@dataclass(frozen=True)
class WaveformBatch(Batch):
    """Recordings and all their captions."""

    waveforms: tuple[Tensor, ...]
    """float32 [samples] each."""

    def memory(self, model: CaptionModel) -> Memory:
        """Return the adapter's memory of what the model's own encoder makes of the recordings now."""
        assert model.encoder is not None
        return model.remember(*pad([encoded(model.encoder, waveform) for waveform in self.waveforms]))

    def to(self, device: torch.device) -> Self:
        """Copy to a device."""
        groups = tuple(rows.to(device) for rows in self.groups)
        return type(self)(groups, tuple(waveform.to(device) for waveform in self.waveforms))


@dataclass(frozen=True)
class Recordings(Clips):
    """Clips by their files, which are read anew for every batch: those of a dataset together fill no memory.

    Args:
        paths: of the recordings.
        lengths_in_samples: of each.
        sample_rate: Hz, that the encoder takes.
        captions: as `Clips.captions`.
    """

    paths: Sequence[Path]
    lengths_in_samples: Sequence[int]
    sample_rate: int
    captions: Sequence[Sequence[list[int]]]

    def sizes(self) -> Iterable[int]:
        """Return the samples of each clip."""
        return self.lengths_in_samples

    def batch(self, clips: Sequence[int], groups: tuple[Rows, ...]) -> WaveformBatch:
        """Return the waveforms of some clips."""
        return WaveformBatch(groups, tuple(_read(self.paths[clip], self.sample_rate) for clip in clips))


def lengths_of(
    clips: Sequence[CaptionedClip], sample_rate: int, progress: Progress | None = None
) -> list[int]:
    """Return how many samples each recording has at a rate; every one is decoded, so that none fails later.

    Args:
        clips: the recordings.
        sample_rate: Hz.
        progress: called for every recording.

    Raises:
        AudioError: a recording cannot be read.
    """
    lengths = []
    for done, clip in enumerate(clips, 1):
        audio = reading.load(clip.path, sample_rate)
        if audio.notes:
            warnings.warn(f"{clip.path}: {'; '.join(audio.notes)}.", AudioWarning, 2)
        lengths.append(len(audio.waveform))
        if progress:
            progress("reading", done, len(clips))
    return lengths


def tuned_features_of(
    clips: Sequence[CaptionedClip], encoder: Encoder, progress: Progress | None = None
) -> list[Tensor]:
    """Return what a tuned encoder makes of each clip, [frames, width].

    Nothing is stored, as no other run needs it.

    Args:
        clips: the recordings.
        encoder: of a run.
        progress: called for every recording.

    Raises:
        AudioError: a recording cannot be read.
    """
    features = []
    for done, clip in enumerate(clips, 1):
        with torch.no_grad():
            waveform = _read(clip.path, encoder.spec.sample_rate).to(encoder.device)
            features.append(encoded(encoder, waveform).cpu())
        if progress:
            progress("encoding", done, len(clips))
    return features


def encoded(encoder: Encoder, waveform: Tensor) -> Tensor:
    """Return an encoder's output for one recording, [frames, width], in float32.

    With gradients, only the waveform is kept for the way back, where the encoder runs once more: what all
    recordings of a batch leave inside an encoder takes some gigabytes.
    """
    # A spectrum in bfloat16 has 2 digits.
    with torch.autocast(waveform.device.type, enabled=False):
        if torch.is_grad_enabled():
            features: Tensor = checkpoint(encoder.features, waveform[None], use_reentrant=False)
            return features[0]
        return encoder.features(waveform[None])[0]


def _read(path: Path, sample_rate: int) -> Tensor:
    return torch.from_numpy(reading.load(path, sample_rate).waveform)
