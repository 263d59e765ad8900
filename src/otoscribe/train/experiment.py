"""Settings and tables of captioned recordings → an experiment for the trainer: the one way into training."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from otoscribe.audio import reading
from otoscribe.datasets.folder import CaptionedClip, fingerprint, read_pairs
from otoscribe.errors import AudioWarning, RunError
from otoscribe.model.contract import check_encoder
from otoscribe.model.encoders.base import Encoder, described, load_encoder, weights_of
from otoscribe.progress import Progress
from otoscribe.text.vocabulary import Vocabulary
from otoscribe.train.batches import Split
from otoscribe.train.settings import DataSettings, ExperimentSettings
from otoscribe.train.store import Store
from otoscribe.train.trainer import Experiment

READING = 2
"""Raised whenever reading gives another waveform for the same file; no features stored before are reused."""


@dataclass(frozen=True)
class Places:
    """Where an experiment finds its files and keeps them; never part of a run's id."""

    training: Path
    """Table of the recordings to learn from, see `datasets.folder.read_pairs`."""
    validation: Path
    """Table of the recordings that choose the epoch."""
    weights: Path | None = None
    """Folder of the encoder's weights, see `load_encoder`."""
    features: Path = Path("features")
    """Folder of what encoders made of recordings."""
    skip_missing: bool = False
    """Go on without recordings that are not there."""


class _Material(NamedTuple):
    settings: ExperimentSettings
    """Resolved."""
    training: list[CaptionedClip]
    validation: list[CaptionedClip]
    encoder: Encoder


def resolve(
    settings: ExperimentSettings, places: Places, progress: Progress | None = None
) -> ExperimentSettings:
    """Name the data and the encoder's weights in the settings, whose hash is then the id of the run.

    Args:
        settings: what they name already must be what is found.
        places: where tables and weights are.
        progress: called for every recording that was read.

    Raises:
        TableError: a table cannot be used.
        RunError: the data are others than the settings name.
        WeightsError: the encoder's weights are not there, or others than the settings name.
    """
    return _gather(settings, places, progress).settings


def prepare(settings: ExperimentSettings, places: Places, progress: Progress | None = None) -> Experiment:
    """Gather all that a run is trained from: resolved settings, vocabulary, features, captions as ids.

    The vocabulary is that of the training captions alone.

    Args:
        settings: as for `resolve`.
        places: where tables and weights are, and features go.
        progress: called for every recording that was read, and for every one that was encoded.

    Raises:
        AudioError: a recording cannot be read.
        TableError: a table cannot be used.
        RunError: the data are others than the settings name, or features cannot be stored.
        WeightsError: the encoder's weights are not there, or others than the settings name.
    """
    resolved, training, validation, encoder = _gather(settings, places, progress)
    words = (caption for clip in training for caption in clip.captions)
    vocabulary = Vocabulary.from_captions(words, resolved.training.minimum_count)
    features = features_of([*training, *validation], encoder, places.features, progress)
    captions = [
        [vocabulary.encode(caption) for caption in clip.captions] for clip in (*training, *validation)
    ]
    first = len(training)
    return Experiment(
        resolved,
        vocabulary,
        Split(features[:first], captions[:first]),
        Split(features[first:], captions[first:]),
    )


def features_of(
    clips: Sequence[CaptionedClip], encoder: Encoder, folder: Path, progress: Progress | None = None
) -> list[Tensor]:
    """Return the output of an encoder that its settings choose for each clip, float32 [frames, width].

    Args:
        clips: the recordings.
        encoder: frozen.
        folder: keeps the outputs, so that each is computed once.
        progress: called for every recording.

    Raises:
        AudioError: a recording cannot be read.
        RunError: an output cannot be stored.
    """

    def computed(recording: Path) -> Tensor:
        audio = reading.load(recording, encoder.spec.sample_rate)
        if audio.notes:
            warnings.warn(f"{recording}: {'; '.join(audio.notes)}.", AudioWarning, 2)
        with torch.no_grad():
            return encoder.features(torch.from_numpy(audio.waveform)[None])[0]

    store = Store(folder, {**described(encoder), "reading": READING}, computed)
    return [store.get(clip.path, clip.sha256) for clip in _counted(clips, "encoding", progress)]


def _gather(settings: ExperimentSettings, places: Places, progress: Progress | None) -> _Material:
    if settings.model.encoder.tuned:
        raise RunError("Training on waveforms is not there yet. Set model.encoder.tuned to false.")
    training = read_pairs(places.training, places.skip_missing)
    validation = read_pairs(places.validation, places.skip_missing)
    encoder = load_encoder(settings.model.encoder, places.weights)
    check_encoder(encoder, settings.model.encoder.name)
    parts = [
        fingerprint(_counted(clips, f"reading {part}", progress))
        for part, clips in (("training", training), ("validation", validation))
    ]
    found = sha256("\n".join(parts).encode()).hexdigest()
    if settings.data.fingerprint not in (None, found):
        raise RunError(
            f"The recordings or captions are not those that the settings name: their fingerprint is {found}, "
            f"not {settings.data.fingerprint}. Name other tables, or leave data.fingerprint out."
        )
    weights = settings.model.encoder.weights or weights_of(encoder)
    model = settings.model.model_copy(
        update={"encoder": settings.model.encoder.model_copy(update={"weights": weights})}
    )
    resolved = settings.model_copy(update={"data": DataSettings(fingerprint=found), "model": model})
    return _Material(resolved, training, validation, encoder)


def _counted(clips: Sequence[CaptionedClip], what: str, progress: Progress | None) -> Iterator[CaptionedClip]:
    """Pass clips on; one counts as done when the next is asked for."""
    for done, clip in enumerate(clips, 1):
        yield clip
        if progress:
            progress(what, done, len(clips))
