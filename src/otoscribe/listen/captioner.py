"""Recordings → captions with scores: the whole listening half in one object."""

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from otoscribe.audio import reading
from otoscribe.audio.waveform import Audio, samples_of
from otoscribe.bundle.bundle import Bundle, EncodedClip
from otoscribe.bundle.manifest import MANIFEST, Manifest
from otoscribe.bundle.onnx_stepper import OnnxStepper, attention_to
from otoscribe.bundle.session import NO_MEMORY
from otoscribe.errors import BundleError, OtoscribeError, UsageError
from otoscribe.listen.batching import Limits, batched
from otoscribe.listen.results import Candidate, Caption, Failure
from otoscribe.listen.support import unsupported
from otoscribe.search.beam import Hypothesis
from otoscribe.search.beam import search as search_captions
from otoscribe.search.options import Search
from otoscribe.search.rules import Rule
from otoscribe.text.vocabulary import Vocabulary

BUNDLED = Path(__file__).parents[1] / "bundled"
"""The model that ships inside the package."""

LONGEST_SECONDS = 1800
"""A whole recording becomes one caption in one pass, which takes about 1.3 MB per second with YAMNet."""

_CLIPS = 16
"""Recordings decoded together: most of the gain of batching, and the first captions come soon."""

_SECONDS = 600
"""Of the recordings decoded together, fill-up included."""

_ROWS = 256
"""Hypotheses, clips times beam, decoded together: their caches fill the memory of a small machine."""

UNSUPPORTED = 0.5
"""What a word without support takes from a caption's score, see `search.beam.Hypothesis.score`."""

FileName = str | bytes | os.PathLike[str]


@dataclass(frozen=True)
class _Recording:
    """A recording that was read and waits for its batch."""

    file: str
    audio: Audio


class Captioner:
    """Captions recordings with one model, loaded once.

    `caption` does all for a file; `listen` and `decode` are its two halves, for waveforms and for whoever
    wants to decode a clip more than once.

    Args:
        model: a bundle's folder; the model that ships with otoscribe if None.
        threads: how many CPU cores to use, all that this process may use if None.

    Raises:
        BundleError: the model is missing, incomplete, damaged or of another format.
    """

    def __init__(self, model: FileName | None = None, threads: int | None = None) -> None:
        if model is None and not (BUNDLED / MANIFEST).is_file():
            raise BundleError(
                "This copy of otoscribe has no model inside; name one (--model PATH), or install a release."
            )
        self._bundle = Bundle.open(BUNDLED if model is None else model, threads)

    @property
    def manifest(self) -> Manifest:
        """What the model is: its name, sample rate, frame length, way of decoding, and how it was made."""
        return self._bundle.manifest

    @property
    def vocabulary(self) -> Vocabulary:
        """The words that the model knows, for rules of search, which name words by their ids."""
        return self._bundle.vocabulary

    def caption(self, path: FileName, *, beam: int | None = None, candidates: int = 1) -> Caption:
        """Caption a recording.

        Args:
            path: WAV, FLAC, Ogg, MP3, AIFF, of any sample rate and number of channels.
            beam: hypotheses kept while searching; the model's default if None.
            candidates: how many captions to return, best first.

        Raises:
            AudioError: the file cannot be read, see `reading.load`, or is longer than `LONGEST_SECONDS`.
            UsageError: a beam or number of candidates that is not possible, or `path` is no path.
        """
        settings = self.own_search(beam, candidates)
        return self._captioned(self._read(path), settings)

    def caption_waveform(
        self, waveform: ArrayLike, sample_rate: int, *, beam: int | None = None, candidates: int = 1
    ) -> Caption:
        """Caption samples that are in memory already; see `listen` and `caption` for the arguments.

        Raises:
            AudioError: see `listen`.
            UsageError: a sample rate, beam or number of candidates that is not possible.
        """
        settings = self.own_search(beam, candidates)
        return self.decode([self.listen(waveform, sample_rate)], settings)[0]

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
        settings = self.own_search(beam, candidates)
        limits = Limits(max(1, min(_CLIPS, _ROWS // settings.beam)), _SECONDS, 4 * _CLIPS)
        batches = batched(map(self._read_or_failed, paths), _seconds, limits)
        return (result for batch in batches for result in self._all_captioned(batch, settings))

    def listen(self, waveform: ArrayLike, sample_rate: int) -> EncodedClip:
        """Encode samples, once for any number of decodings.

        Args:
            waveform: [samples], mono; numbers with a fraction within [-1, 1], which are clipped to it, or 8-,
                16- or 32-bit integers, which are divided by what their type can hold.
            sample_rate: Hz.

        Raises:
            AudioError: the waveform is no such array, empty, not finite or over `LONGEST_SECONDS`.
            UsageError: a sample rate that is not possible.
        """
        rate = self.manifest.sample_rate
        audio = reading.resample(samples_of(waveform), sample_rate, rate, LONGEST_SECONDS)
        return self._bundle.listen([audio.waveform])[0]

    def decode(
        self, clips: Sequence[EncodedClip], search: Search, rules: Sequence[Rule] = ()
    ) -> list[Caption]:
        """Write captions of clips, all in one batch.

        Args:
            clips: from `listen`.
            search: how; `own_search` gives the model's own way.
            rules: what is forbidden besides, such as `search.rules.Never`.

        Raises:
            BundleError: memory runs out, or the model gives no caption any probability.
        """
        known = any(clip.support is not None for clip in clips)
        every = search.model_copy(update={"candidates": search.beam}) if known else search
        try:
            found = search_captions(OnnxStepper(self._bundle, clips), every, rules)
        except MemoryError as error:
            raise BundleError(NO_MEMORY) from error
        if not all(found):
            raise BundleError("The model gives no caption any probability. Copy or export the model again.")
        return [
            Caption(
                None,
                clip.seconds,
                tuple(map(self._candidate, self._supported(hypotheses, clip)[: search.candidates])),
            )
            for clip, hypotheses in zip(clips, found, strict=True)
        ]

    def own_search(self, beam: int | None = None, candidates: int = 1) -> Search:
        """Return the model's own way of decoding, with another beam or more candidates.

        Raises:
            UsageError: a beam or number of candidates that is not possible.
        """
        own = self.manifest.search
        # More candidates than the default beam holds widen it; an explicit beam is obeyed or refused.
        if beam is None:
            beam = max(own.beam, Search(beam=1000, candidates=candidates).candidates)
        return Search(**{**own.model_dump(), "beam": beam, "candidates": candidates})

    def attention(self, clip: EncodedClip, caption: str) -> NDArray[np.float32]:
        """Return when each word of a caption was heard.

        Args:
            clip: from `listen`.
            caption: words that the model knows; what it does not know counts as `UNKNOWN`.

        Returns:
            float32 [words, frames], at least 0, at most 1 in sum for each word: the decoder's attention to
            places of its memory (mean over blocks and heads), by the frames that these places come from.
            Frame i begins at i * `manifest.frame_seconds`.
        """
        attention = attention_to(self._bundle, clip, self._bundle.vocabulary.encode(caption))
        return attention if clip.sources is None else attention @ clip.sources

    def _read(self, path: FileName) -> _Recording:
        name = _name(path)
        return _Recording(name, reading.load(name, self.manifest.sample_rate, LONGEST_SECONDS))

    def _read_or_failed(self, path: FileName) -> _Recording | Failure:
        try:
            return self._read(path)
        except UsageError as error:
            return Failure(repr(path), str(error))
        except OtoscribeError as error:
            return Failure(_name(path), str(error))

    def _captioned(self, recording: _Recording, settings: Search) -> Caption:
        (clip,) = self._bundle.listen([recording.audio.waveform])
        return replace(self.decode([clip], settings)[0], file=recording.file)

    def _all_captioned(
        self, batch: Sequence[_Recording | Failure], settings: Search
    ) -> Iterator[Caption | Failure]:
        recordings = [entry for entry in batch if isinstance(entry, _Recording)]
        results: Iterator[Caption | Failure]
        try:
            clips = [self._bundle.listen([recording.audio.waveform])[0] for recording in recordings]
            captions = zip(self.decode(clips, settings), recordings, strict=True)
            results = (replace(caption, file=recording.file) for caption, recording in captions)
        except BundleError:
            # Alone, each needs less memory, and what fails does not take the others along.
            results = (self._captioned_or_failed(recording, settings) for recording in recordings)
        for entry in batch:
            yield entry if isinstance(entry, Failure) else next(results)

    def _captioned_or_failed(self, recording: _Recording, settings: Search) -> Caption | Failure:
        try:
            return self._captioned(recording, settings)
        except BundleError as error:
            # It speaks of the model, not of what the model was given.
            return Failure(recording.file, f"{recording.file} got no caption. {error}")

    def _supported(self, hypotheses: Sequence[Hypothesis], clip: EncodedClip) -> Sequence[Hypothesis]:
        """Put hypotheses that speak of what is not heard behind others, where that is known."""
        support = clip.support
        if support is None:
            return hypotheses
        words = self._bundle.vocabulary.words

        def rank(hypothesis: Hypothesis) -> float:
            said = (words[token] for token in hypothesis.tokens)
            return UNSUPPORTED * unsupported(said, support) - hypothesis.score

        return sorted(hypotheses, key=rank)

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


def _seconds(entry: _Recording | Failure) -> float:
    return 0.0 if isinstance(entry, Failure) else entry.audio.seconds


def _name(path: FileName) -> str:
    try:
        return os.fsdecode(path)
    except TypeError as error:
        raise UsageError(f"A recording is named by its path, not by {path!r}.") from error
