"""Settings and tables of captioned recordings → an experiment for the trainer: the one way into training."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from otoscribe.datasets.corpora.base import read_clips
from otoscribe.datasets.folder import CaptionedClip, fingerprint
from otoscribe.errors import RunError
from otoscribe.model.contract import check_encoder
from otoscribe.model.encoders.base import Encoder, load_encoder, weights_of
from otoscribe.model.words.base import WORDS, Beginning, Origin, WordSettings, load_words, resolved
from otoscribe.progress import Progress
from otoscribe.text.vocabulary import Vocabulary, words_of
from otoscribe.train.batches import Clips, Split
from otoscribe.train.embed import features_of
from otoscribe.train.prefixes import PrefixStates
from otoscribe.train.settings import ExperimentSettings
from otoscribe.train.trainer import Experiment
from otoscribe.train.waveforms import Recordings, lengths_of


@dataclass(frozen=True)
class Places:
    """Where an experiment finds its files and keeps them; never part of a run's id."""

    training: Path
    """Table of the recordings to learn from, see `datasets.corpora.base.read_clips`."""
    validation: Path
    """Table of the recordings that choose the epoch."""
    weights: Path | None = None
    """Folder of the encoder's weights, see `load_encoder`."""
    features: Path = Path("features")
    """Folder of what encoders made of recordings."""
    skip_missing: bool = False
    """Go on without recordings that are not there."""
    words: Path | None = None
    """Folder of the word embedding's published files, see `load_words`."""


class _Material(NamedTuple):
    settings: ExperimentSettings
    """Resolved."""
    training: list[CaptionedClip]
    validation: list[CaptionedClip]
    encoder: Encoder
    vocabulary: Vocabulary
    """Of the training captions alone."""
    beginning: Beginning | None
    """Of the words."""


def resolve(
    settings: ExperimentSettings, places: Places, progress: Progress | None = None
) -> ExperimentSettings:
    """Name the data and all weights that exist already in the settings, whose hash is then the run's id.

    Args:
        settings: what they name already must be what is found.
        places: where tables and weights are.
        progress: called for every recording that was read.

    Raises:
        TableError: a table cannot be used.
        RunError: the data are others than the settings name.
        WeightsError: the encoder's weights or the words' vectors are not there, or others than the settings
            name.
    """
    return _gather(settings, places, progress).settings


def prepare(
    settings: ExperimentSettings, places: Places, progress: Progress | None = None, device: str = "cpu"
) -> Experiment:
    """Gather all that a run is trained from: resolved settings, vocabulary, features, captions as ids.

    The vocabulary is that of the training captions alone.

    Args:
        settings: as for `resolve`.
        places: where tables and weights are, and features go.
        progress: called for every recording that was read, and for every one that was encoded.
        device: on which a frozen encoder computes.

    Raises:
        AudioError: a recording cannot be read.
        TableError: a table cannot be used.
        RunError: the data are others than the settings name, or features cannot be stored.
        WeightsError: the encoder's weights or the words' vectors are not there, or others than the settings
            name.
    """
    chosen, training, validation, encoder, vocabulary, beginning = _gather(settings, places, progress)
    clips = [*training, *validation]
    captions = [[vocabulary.encode(caption) for caption in clip.captions] for clip in clips]
    tuned, first = chosen.model.encoder.tuned, len(training)
    parts: Iterable[Clips]
    if tuned:
        rate = encoder.spec.sample_rate
        lengths = lengths_of(clips, rate, progress)
        paths = [clip.path for clip in clips]
        parts = (
            Recordings(paths[part], lengths[part], rate, captions[part])
            for part in (slice(first), slice(first, None))
        )
    else:
        features = features_of(clips, encoder.to(device), places.features, chosen.data.precision, progress)
        parts = (Split(features[part], captions[part]) for part in (slice(first), slice(first, None)))
    learnt, validated = parts
    return Experiment(
        chosen,
        vocabulary,
        learnt,
        validated,
        beginning=beginning,
        states=_states(chosen.model.words, vocabulary, captions, beginning, places.features),
        encoder=encoder if tuned else None,
    )


def _states(
    settings: WordSettings,
    vocabulary: Vocabulary,
    captions: Sequence[Sequence[list[int]]],
    beginning: Beginning | None,
    folder: Path,
) -> PrefixStates | None:
    """Return what keeps the vectors of slow words; None of others."""
    if beginning is None or not WORDS[settings.name].is_slow(settings):
        return None
    every = [caption for of_clip in captions for caption in of_clip]
    return PrefixStates(folder, every, len(vocabulary), beginning.weights, beginning.width)


def _gather(settings: ExperimentSettings, places: Places, progress: Progress | None) -> _Material:
    training = read_clips(places.training, places.skip_missing)
    validation = read_clips(places.validation, places.skip_missing)
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
    captions = [caption for clip in training for caption in clip.captions]
    vocabulary = Vocabulary.from_captions(captions, settings.training.minimum_count)
    origin = Origin([words_of(caption) for caption in captions], places.words)
    beginning = load_words(settings.model.words, vocabulary.words, origin)
    model = settings.model.model_copy(
        update={
            "encoder": settings.model.encoder.model_copy(update={"weights": weights}),
            "words": resolved(settings.model.words, beginning),
        }
    )
    data = settings.data.model_copy(update={"fingerprint": found})
    chosen = settings.model_copy(update={"data": data, "model": model})
    return _Material(chosen, training, validation, encoder, vocabulary, beginning)


def _counted(clips: Sequence[CaptionedClip], what: str, progress: Progress | None) -> Iterator[CaptionedClip]:
    """Pass clips on; one counts as done when the next is asked for."""
    for done, clip in enumerate(clips, 1):
        yield clip
        if progress:
            progress(what, done, len(clips))
