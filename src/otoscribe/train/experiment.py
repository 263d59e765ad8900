"""Settings and tables of captioned recordings → an experiment for the trainer: the one way into training."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from otoscribe.datasets.corpora.base import read_clips
from otoscribe.datasets.folder import CaptionedClip, fingerprint
from otoscribe.errors import RunError
from otoscribe.model.contract import check_encoder
from otoscribe.model.encoders.base import Encoder, EncoderSettings, described, load_encoder
from otoscribe.model.words.base import WORDS, Beginning, Origin, WordSettings, load_words, resolved
from otoscribe.progress import Progress
from otoscribe.settings import Frozen
from otoscribe.text.vocabulary import Vocabulary, words_of
from otoscribe.train.batches import Clips, Split
from otoscribe.train.embed import features_of, kept_features
from otoscribe.train.prefixes import PrefixStates
from otoscribe.train.settings import ExperimentSettings
from otoscribe.train.store import Kind
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
    return Material.read(places, progress).resolve(settings)


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
    return Material.read(places, progress, device).prepare(settings)


class Material:
    """Recordings with captions, and what all experiments on them share: each is read or computed once.

    Args:
        training: recordings to learn from.
        validation: recordings that choose the epoch.
        places: where weights are, and features go.
        progress: as for `prepare`.
        device: on which a frozen encoder computes.
        encoders: what `encoders` of an earlier one holds; those are loaded only if features are missing.
    """

    def __init__(
        self,
        training: Sequence[CaptionedClip],
        validation: Sequence[CaptionedClip],
        places: Places,
        progress: Progress | None = None,
        device: str = "cpu",
        encoders: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.training, self.validation = training, validation
        self.places, self._progress, self._device = places, progress, device
        self.encoders = dict(encoders or {})
        """What decides the output of each encoder, see `described`, by its settings as JSON."""
        self._encoder: Encoder | None = None
        self._vocabularies: dict[int, Vocabulary] = {}
        self._beginnings: dict[str, Beginning | None] = {}
        self._last: tuple[str, Experiment] | None = None

    @classmethod
    def read(cls, places: Places, progress: Progress | None = None, device: str = "cpu") -> Self:
        """Read the tables.

        Raises:
            TableError: one cannot be used.
        """
        training = read_clips(places.training, places.skip_missing)
        return cls(training, read_clips(places.validation, places.skip_missing), places, progress, device)

    @cached_property
    def fingerprint(self) -> str:
        """Of the recordings and captions of both splits, see `datasets.folder.fingerprint`."""
        parts = [
            fingerprint(_counted(clips, f"reading {part}", self._progress))
            for part, clips in (("training", self.training), ("validation", self.validation))
        ]
        return sha256("\n".join(parts).encode()).hexdigest()

    def vocabulary(self, settings: ExperimentSettings) -> Vocabulary:
        """Return the words of the training captions."""
        count = settings.training.minimum_count
        if count not in self._vocabularies:
            captions = [caption for clip in self.training for caption in clip.captions]
            self._vocabularies[count] = Vocabulary.from_captions(captions, settings.training.minimum_count)
        return self._vocabularies[count]

    def beginning(self, settings: ExperimentSettings) -> Beginning | None:
        """Return what the words begin with, see `load_words`."""
        key = _key(settings.model.words, settings.training.minimum_count)
        if key not in self._beginnings:
            captions = [words_of(caption) for clip in self.training for caption in clip.captions]
            words = self.vocabulary(settings).words
            origin = Origin(captions, self.places.words)
            self._beginnings[key] = load_words(settings.model.words, words, origin)
        return self._beginnings[key]

    def described(self, settings: EncoderSettings) -> Mapping[str, Any]:
        """Return what decides the output of an encoder, its weights' hash among it; may load it.

        Raises:
            WeightsError: its weights are not there, or others than the settings name.
        """
        key = settings.model_dump_json()
        if key not in self.encoders:
            self.encoders[key] = described(self._loaded(settings))
        return self.encoders[key]

    def features(
        self, clips: Sequence[CaptionedClip], settings: EncoderSettings, kind: Kind
    ) -> Sequence[Tensor]:
        """Return what a frozen encoder makes of recordings, see `features_of`; may load it."""
        kept = kept_features(clips, self.described(settings), self.places.features, kind)
        if kept is not None:
            return kept
        encoder = self._loaded(settings).to(self._device)
        return features_of(clips, encoder, self.places.features, kind, self._progress)

    def resolve(self, settings: ExperimentSettings) -> ExperimentSettings:
        """Name data, weights and vectors in the settings; see the function `resolve`."""
        encoder = self.described(settings.model.encoder)
        words = resolved(settings.model.words, self.beginning(settings))
        chosen = named(settings, encoder, self.fingerprint, words)
        self.encoders[chosen.model.encoder.model_dump_json()] = encoder
        return chosen

    def prepare(self, settings: ExperimentSettings) -> Experiment:
        """Gather what a run is trained from; see the function `prepare`.

        What an experiment has in common with the last one is not gathered again.
        """
        chosen = self.resolve(settings)
        shared = _key(chosen.data, chosen.model.encoder, chosen.model.words, chosen.training.minimum_count)
        if self._last is None or self._last[0] != shared:
            self._last = shared, self._experiment(settings, chosen)
        return replace(self._last[1], settings=chosen)

    def _experiment(self, settings: ExperimentSettings, chosen: ExperimentSettings) -> Experiment:
        vocabulary, beginning = self.vocabulary(settings), self.beginning(settings)
        clips = [*self.training, *self.validation]
        captions = [[vocabulary.encode(caption) for caption in clip.captions] for clip in clips]
        tuned, first = chosen.model.encoder.tuned, len(self.training)
        encoder = self._loaded(settings.model.encoder) if tuned else None
        parts: Iterable[Clips]
        if encoder is not None:
            rate = encoder.spec.sample_rate
            lengths = lengths_of(clips, rate, self._progress)
            paths = [clip.path for clip in clips]
            parts = (
                Recordings(paths[part], lengths[part], rate, captions[part])
                for part in (slice(first), slice(first, None))
            )
        else:
            features = self.features(clips, settings.model.encoder, chosen.data.precision)
            parts = (Split(features[part], captions[part]) for part in (slice(first), slice(first, None)))
        learnt, validated = parts
        return Experiment(
            chosen,
            vocabulary,
            learnt,
            validated,
            beginning=beginning,
            states=_states(chosen.model.words, vocabulary, captions, beginning, self.places.features),
            encoder=encoder,
        )

    def _loaded(self, settings: EncoderSettings) -> Encoder:
        """Return an encoder with its weights, and keep it until another one is asked for."""
        if self._encoder is None or self._encoder.settings != settings:
            self._encoder = None  # or two of them would be in memory
            encoder = load_encoder(settings, self.places.weights)
            check_encoder(encoder, settings.name)
            self._encoder = encoder
        return self._encoder


def named(
    settings: ExperimentSettings, encoder: Mapping[str, Any], fingerprint: str, words: WordSettings
) -> ExperimentSettings:
    """Name in settings what decides a run besides them.

    Args:
        settings: if they name data, only those will do.
        encoder: as `described` gives it.
        fingerprint: of the data.
        words: those of the settings, `resolved`.

    Raises:
        RunError: the data are others than the settings name.
    """
    if settings.data.fingerprint not in (None, fingerprint):
        raise RunError(
            f"The recordings or captions are not those that the settings name: their fingerprint is "
            f"{fingerprint}, not {settings.data.fingerprint}. Name other tables, or leave data.fingerprint "
            "out."
        )
    weights = settings.model.encoder.weights or encoder["weights"]
    model = settings.model.model_copy(
        update={
            "encoder": settings.model.encoder.model_copy(update={"weights": weights}),
            "words": words,
        }
    )
    data = settings.data.model_copy(update={"fingerprint": fingerprint})
    return settings.model_copy(update={"data": data, "model": model})


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


def _key(*parts: Frozen | int) -> str:
    return " ".join(str(part) if isinstance(part, int) else part.model_dump_json() for part in parts)


def _counted(clips: Sequence[CaptionedClip], what: str, progress: Progress | None) -> Iterator[CaptionedClip]:
    """Pass clips on; one counts as done when the next is asked for."""
    for done, clip in enumerate(clips, 1):
        yield clip
        if progress:
            progress(what, done, len(clips))
