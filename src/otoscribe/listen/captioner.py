"""Recordings → captions with scores: the whole listening half in one object."""

import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from otoscribe.audio import reading
from otoscribe.bundle.bundle import NO_MEMORY, Bundle, Memory
from otoscribe.bundle.onnx_stepper import OnnxStepper
from otoscribe.errors import AudioError, BundleError, OtoscribeError, UsageError
from otoscribe.search.beam import Hypothesis, Search, search

BUNDLED = Path(__file__).parents[1] / "bundled"
"""The model that ships inside the package."""

LONGEST_SECONDS = 1800
"""A whole recording becomes one caption in one pass, which takes about 1.3 MB per second with YAMNet."""

_CLIPS = 16
"""Clips decoded together: most of the gain of batching, and the first captions come soon."""

_FRAMES = 16_384
"""Frames of memory, fill-up included, decoded together: one long recording does not inflate 15 short ones."""

_ROWS = 256
"""Hypotheses, clips times beam, decoded together: their caches fill the memory of a small machine."""

_LONG_SECONDS = 60
"""A recording over this takes a while to be listened to: what waits is captioned before."""

FileName = str | bytes | os.PathLike[str]

Result = TypeVar("Result")


@dataclass(frozen=True)
class Candidate:
    """One way to describe a recording."""

    caption: str
    log_probability: float
    """Natural logarithm of the model's probability for exactly these words, summed over them and the end."""
    confidence: float
    """Geometric mean of the probabilities of the words and the end, in (0, 1]."""
    words: tuple[tuple[str, float], ...]
    """Each word with its probability given the words before it."""


@dataclass(frozen=True)
class Caption:
    """What was heard in a recording."""

    file: str | None
    """The recording as it was named; None for a waveform."""
    seconds: float
    """Duration of the recording."""
    candidates: tuple[Candidate, ...]
    """At least one, best first."""

    @property
    def caption(self) -> str:
        """The best candidate's words."""
        return self.candidates[0].caption

    @property
    def log_probability(self) -> float:
        """The best candidate's log-probability."""
        return self.candidates[0].log_probability

    @property
    def confidence(self) -> float:
        """The best candidate's confidence, in (0, 1]."""
        return self.candidates[0].confidence


@dataclass(frozen=True)
class Failure:
    """A recording that got no caption."""

    file: str
    message: str
    """One or two sentences: what is wrong, and what to do."""


@dataclass(frozen=True)
class _Heard:
    file: str | None
    seconds: float
    memory: Memory


class Captioner:
    """Captions recordings with one model, loaded once.

    Args:
        model: a bundle's folder; the model that ships with otoscribe if None.
        threads: how many CPU cores to use, all that this process may use if None.

    Raises:
        BundleError: the model is missing, incomplete, damaged or of another format.
    """

    def __init__(self, model: FileName | None = None, threads: int | None = None) -> None:
        if model is None and not (BUNDLED / "manifest.json").is_file():
            raise BundleError(
                "This copy of otoscribe has no model inside; name one (--model PATH), or install a release."
            )
        self._bundle = Bundle.open(BUNDLED if model is None else model, threads)

    def caption_waveform(
        self,
        waveform: ArrayLike,
        sample_rate: int,
        *,
        beam: int | None = None,
        candidates: int = 1,
    ) -> Caption:
        """Caption samples that are in memory already.

        Args:
            waveform: [samples], mono; numbers with a fraction within [-1, 1], or else scaled down to it, or
                8-, 16- or 32-bit integers, which are divided by what their type can hold.
            sample_rate: Hz.
            beam: hypotheses kept while searching; the model's default if None.
            candidates: how many captions to return.

        Raises:
            AudioError: the waveform is no such array, not one-dimensional, empty, not finite or over
                `LONGEST_SECONDS`.
            UsageError: a sample rate, beam or number of candidates that is not possible.
        """
        settings = self._search(beam, candidates)
        rate = self._bundle.manifest.sample_rate
        recording = reading.resample(_samples(waveform), sample_rate, rate, LONGEST_SECONDS)
        return self._decoded_alone(self._listened(None, recording), settings)

    def caption(self, path: FileName, *, beam: int | None = None, candidates: int = 1) -> Caption:
        """Caption a recording; see `caption_waveform` for the options.

        Raises:
            AudioError: the file cannot be read, see `reading.load`, or is longer than `LONGEST_SECONDS`.
            UsageError: a beam or number of candidates that is not possible, or `path` is no path.
        """
        settings = self._search(beam, candidates)
        return self._decoded_alone(self._listened(_name(path), self._loaded(path)), settings)

    def caption_many(
        self, paths: Iterable[FileName], *, beam: int | None = None, candidates: int = 1
    ) -> Iterator[Caption | Failure]:
        """Caption recordings, several at a time; results come in the order of `paths`, as they are ready.

        A recording that cannot be captioned gives a `Failure` and does not stop the others.

        Raises:
            UsageError: at the call, a beam or number of candidates that is not possible, or one path alone.
        """
        if isinstance(paths, str | bytes | os.PathLike):
            raise UsageError(f"caption_many takes a list of recordings; caption takes one: {paths!r}.")
        return self._stream(paths, self._search(beam, candidates))

    def _stream(self, paths: Iterable[FileName], settings: Search) -> Iterator[Caption | Failure]:
        clips = max(1, min(_CLIPS, _ROWS // settings.beam))
        waiting: list[_Heard | Failure] = []
        for path in paths:
            recording = _attempted(path, partial(self._loaded, path))
            if isinstance(recording, Failure):
                waiting.append(recording)
            else:
                if recording.seconds > _LONG_SECONDS:
                    yield from self._finished(waiting, settings)
                    waiting = []
                waiting.append(_attempted(path, partial(self._listened, _name(path), recording)))
            frames = [heard.memory.frames for heard in waiting if isinstance(heard, _Heard)]
            if len(frames) == clips or len(waiting) == 4 * _CLIPS:
                yield from self._finished(waiting, settings)
                waiting = []
            elif len(frames) > 1 and len(frames) * max(frames) > _FRAMES:
                yield from self._finished(waiting[:-1], settings)
                waiting = waiting[-1:]
        yield from self._finished(waiting, settings)

    def _finished(self, waiting: list[_Heard | Failure], settings: Search) -> Iterator[Caption | Failure]:
        clips = [heard for heard in waiting if isinstance(heard, _Heard)]
        try:
            captions: Iterator[Caption | Failure] = iter(self._decoded(clips, settings))
        except BundleError:
            # Alone, each needs less memory, and what fails does not take the others along.
            captions = (
                _attempted(clip.file or "", partial(self._decoded_alone, clip, settings)) for clip in clips
            )
        for heard in waiting:
            yield heard if isinstance(heard, Failure) else next(captions)

    def _search(self, beam: int | None, candidates: int) -> Search:
        settings = Search(**self._bundle.manifest.search.model_dump())
        # More candidates than the default beam holds widen it; an explicit beam is obeyed or refused.
        if beam is None:
            beam = max(settings.beam, Search(beam=1000, candidates=candidates).candidates)
        return replace(settings, beam=beam, candidates=candidates)

    def _loaded(self, path: FileName) -> reading.Audio:
        return reading.load(_name(path), self._bundle.manifest.sample_rate, LONGEST_SECONDS)

    def _listened(self, file: str | None, recording: reading.Audio) -> _Heard:
        return _Heard(file, recording.seconds, self._bundle.listen(recording.waveform))

    def _decoded(self, clips: list[_Heard], settings: Search) -> list[Caption]:
        try:
            found = search(OnnxStepper(self._bundle, [clip.memory for clip in clips]), settings)
        except MemoryError as error:
            raise BundleError(NO_MEMORY) from error
        if not all(found):
            raise BundleError("The model gives no caption any probability. Copy or export the model again.")
        return [
            Caption(clip.file, clip.seconds, tuple(self._candidate(hypothesis) for hypothesis in hypotheses))
            for clip, hypotheses in zip(clips, found, strict=True)
        ]

    def _decoded_alone(self, clip: _Heard, settings: Search) -> Caption:
        return self._decoded([clip], settings)[0]

    def _candidate(self, hypothesis: Hypothesis) -> Candidate:
        vocabulary = self._bundle.vocabulary
        words = [vocabulary.words[token] for token in hypothesis.tokens]
        # The end is the last of the tokens' probabilities; it counts for the confidence and is no word.
        parts = hypothesis.token_log_probabilities
        return Candidate(
            caption=vocabulary.decode(hypothesis.tokens),
            log_probability=hypothesis.log_probability,
            confidence=math.exp(hypothesis.log_probability / len(parts)),
            words=tuple((word, math.exp(part)) for word, part in zip(words, parts, strict=False)),
        )


def _name(path: FileName) -> str:
    try:
        return os.fsdecode(path)
    except TypeError as error:
        raise UsageError(f"A recording is named by its path, not by {path!r}.") from error


def _attempted(path: FileName, attempt: Callable[[], Result]) -> Result | Failure:
    """Return what `attempt` returns, or what is wrong with the recording."""
    try:
        return attempt()
    except UsageError as error:
        return Failure(repr(path), str(error))
    except BundleError as error:
        # It speaks of the model, not of what the model was given.
        return Failure(_name(path), f"{_name(path)} got no caption. {error}")
    except OtoscribeError as error:
        return Failure(_name(path), str(error))


def _samples(waveform: ArrayLike) -> NDArray[np.float32]:
    """Return float32 [samples], integers divided by what their type can hold.

    Raises:
        AudioError: it is not one-dimensional, masked, or of another type.
    """
    if isinstance(waveform, np.ma.MaskedArray):
        raise AudioError("A masked waveform cannot be heard; fill it first: waveform.filled(0).")
    try:
        samples: NDArray[Any] = np.asarray(waveform)
    except ValueError as error:
        raise AudioError(
            "A waveform is one row of numbers, [samples]; these rows differ in length."
        ) from error
    if samples.ndim != 1:
        raise AudioError(f"A waveform has the shape [samples], not {samples.shape}; average its channels.")
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # found, and said, when the samples are checked
            return samples.astype(np.float32)
    # Python's integers become 64 bits wide, which no recording has: their range is not known.
    if samples.dtype.kind not in "iu" or samples.dtype.itemsize > 4:
        raise AudioError(
            f"A waveform of {samples.dtype} cannot be heard; give numbers with a fraction within [-1, 1], or "
            f"integers of 8, 16 or 32 bits."
        )
    half = 2.0 ** (8 * samples.dtype.itemsize - 1)
    # Without a sign, silence is in the middle.
    return ((samples - (half if samples.dtype.kind == "u" else 0.0)) / half).astype(np.float32)
