"""Recordings → captions with scores: the whole listening half in one object."""

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from otoscribe import audio
from otoscribe.bundle import Bundle, Memory
from otoscribe.errors import AudioError, BundleError, OtoscribeError
from otoscribe.search import Hypothesis, Search, search
from otoscribe.stepper import OnnxStepper

BUNDLED = Path(__file__).parent / "bundled"
"""The model that ships inside the package."""

LONGEST_SECONDS = 1800
"""A whole recording becomes one caption in one pass, which takes about 1.3 MB per second with YAMNet."""

_CLIPS = 16
"""Clips decoded together: most of the gain of batching, and the first captions come soon."""

_FRAMES = 16_384
"""Frames of memory, fill-up included, decoded together: one long recording does not inflate 15 short ones."""

FileName = str | os.PathLike[str]


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
        waveform: NDArray[np.floating],
        sample_rate: int,
        *,
        beam: int | None = None,
        candidates: int = 1,
    ) -> Caption:
        """Caption samples that are in memory already.

        Args:
            waveform: [samples], mono; within [-1, 1], or else scaled down to it.
            sample_rate: Hz.
            beam: hypotheses kept while searching; the model's default if None.
            candidates: how many captions to return.

        Raises:
            AudioError: the waveform is not one-dimensional, empty, not finite or over `LONGEST_SECONDS`.
            UsageError: a sample rate, beam or number of candidates that is not possible.
        """
        settings = self._search(beam, candidates)
        if waveform.ndim != 1:
            raise AudioError(
                f"A waveform has the shape [samples], not {waveform.shape}; average its channels."
            )
        rate = self._bundle.manifest.sample_rate
        heard = audio.resample(waveform.astype(np.float32), sample_rate, rate, LONGEST_SECONDS)
        return self._decoded([_Heard(None, heard.seconds, self._bundle.listen(heard.waveform))], settings)[0]

    def caption(self, path: FileName, *, beam: int | None = None, candidates: int = 1) -> Caption:
        """Caption a recording; see `caption_waveform` for the options.

        Raises:
            AudioError: the file cannot be read, see `audio.load`, or is longer than `LONGEST_SECONDS`.
            UsageError: a beam or number of candidates that is not possible.
        """
        settings = self._search(beam, candidates)
        return self._decoded([self._listened(path)], settings)[0]

    def caption_many(
        self, paths: Iterable[FileName], *, beam: int | None = None, candidates: int = 1
    ) -> Iterator[Caption | Failure]:
        """Caption recordings, several at a time; results come in the order of `paths`, as they are ready.

        A recording that cannot be captioned gives a `Failure` and does not stop the others.

        Raises:
            UsageError: at the call, a beam or number of candidates that is not possible.
        """
        return self._stream(paths, self._search(beam, candidates))

    def _stream(self, paths: Iterable[FileName], settings: Search) -> Iterator[Caption | Failure]:
        waiting: list[_Heard | Failure] = []
        for path in paths:
            try:
                waiting.append(self._listened(path))
            except OtoscribeError as error:
                waiting.append(Failure(os.fspath(path), str(error)))
            frames = [heard.memory.frames for heard in waiting if isinstance(heard, _Heard)]
            if len(frames) == _CLIPS or len(waiting) == 4 * _CLIPS:
                yield from self._finished(waiting, settings)
                waiting = []
            elif len(frames) > 1 and len(frames) * max(frames) > _FRAMES:
                yield from self._finished(waiting[:-1], settings)
                waiting = waiting[-1:]
        yield from self._finished(waiting, settings)

    def _finished(self, waiting: list[_Heard | Failure], settings: Search) -> Iterator[Caption | Failure]:
        captions = iter(self._decoded([heard for heard in waiting if isinstance(heard, _Heard)], settings))
        for heard in waiting:
            yield heard if isinstance(heard, Failure) else next(captions)

    def _search(self, beam: int | None, candidates: int) -> Search:
        settings = Search(**self._bundle.manifest.search.model_dump())
        # More candidates than the default beam holds widen it; an explicit beam is obeyed or refused.
        beam = max(settings.beam, candidates) if beam is None else beam
        return replace(settings, beam=beam, candidates=candidates)

    def _listened(self, path: FileName) -> _Heard:
        recording = audio.load(path, self._bundle.manifest.sample_rate, LONGEST_SECONDS)
        return _Heard(os.fspath(path), recording.seconds, self._bundle.listen(recording.waveform))

    def _decoded(self, clips: list[_Heard], settings: Search) -> list[Caption]:
        found = search(OnnxStepper(self._bundle, [clip.memory for clip in clips]), settings)
        if not all(found):
            raise BundleError("The model gives no caption any probability. Copy or export the model again.")
        return [
            Caption(clip.file, clip.seconds, tuple(self._candidate(hypothesis) for hypothesis in hypotheses))
            for clip, hypotheses in zip(clips, found, strict=True)
        ]

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
