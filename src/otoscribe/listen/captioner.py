"""Recordings → captions with scores: the whole listening half in one object."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from threading import Lock
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from otoscribe.audio.channels import Channel, checked, one
from otoscribe.audio.sources import Recording, name_of
from otoscribe.bundle.bundle import Bundle, EncodedClip
from otoscribe.bundle.manifest import MANIFEST, Manifest
from otoscribe.bundle.onnx_stepper import OnnxStepper, attention_to
from otoscribe.bundle.session import NO_MEMORY
from otoscribe.errors import BundleError, OtoscribeError, UsageError
from otoscribe.listen import hearing
from otoscribe.listen.batching import Limits, batched
from otoscribe.listen.grounded import Ground, chance, grounded_search
from otoscribe.listen.hearing import Sound
from otoscribe.listen.pool import in_order
from otoscribe.listen.results import Candidate, Caption, Failure
from otoscribe.processors import cores
from otoscribe.search.beam import Hypothesis
from otoscribe.search.beam import search as search_captions
from otoscribe.search.options import Search
from otoscribe.search.rules import Rule
from otoscribe.text.vocabulary import Vocabulary

BUNDLED = Path(__file__).parents[1] / "bundled"
"""The model that ships inside the package."""

TOGETHER = 32
"""Recordings that may be decoded together, in groups from the first one on: most of the gain of batching, and
the first captions come soon. Last bits depend on what is decoded together, so a group that is captioned apart
from the others gets the same captions."""

_SECONDS = 600
"""Of the recordings decoded together, fill-up included."""

_ROWS = 256
"""Hypotheses, clips times beam, decoded together: their caches fill the memory of a small machine."""

_AHEAD = 6
"""Recordings for each thread that are taken before the first of them is decoded, to last while it is."""

_LONG_SECONDS = 60
"""Of longer recordings, one at a time goes through the adapter, and through an encoder that hears it at once:
both take memory by the second."""


@dataclass(frozen=True)
class _Heard:
    """What was read."""

    file: str | None
    sound: Sound
    style: str | None


@dataclass(frozen=True)
class _Listened:
    """What was listened to and waits for its batch."""

    file: str | None
    channel: int | None
    notes: tuple[str, ...]
    clip: EncodedClip


_Taken = Callable[[], Sequence[_Heard | Failure]]
"""Reads a recording, whose channels may be several."""

_Entry = TypeVar("_Entry", _Heard, _Listened)
_Result = TypeVar("_Result")


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

    def __init__(self, model: str | os.PathLike[str] | None = None, threads: int | None = None) -> None:
        if model is None and not (BUNDLED / MANIFEST).is_file():
            raise BundleError(
                "This copy of otoscribe has no model inside; name one (--model PATH), or install a release."
            )
        self._bundle = Bundle.open(BUNDLED if model is None else model, threads)
        self._threads = int(threads or cores())
        self._one_long = Lock()

    @property
    def manifest(self) -> Manifest:
        """What the model is: its name, sample rate, frame length, way of decoding, and how it was made."""
        return self._bundle.manifest

    @property
    def vocabulary(self) -> Vocabulary:
        """The words that the model knows, for rules of search, which name words by their ids."""
        return self._bundle.vocabulary

    def caption(
        self,
        recording: Recording,
        *,
        channel: int | None = None,
        style: str | None = None,
        beam: int | None = None,
        candidates: int = 1,
    ) -> Caption:
        """Caption a recording.

        Args:
            recording: a path, the content of a file (bytes), or a file opened in binary mode; in any format
                that FFmpeg reads, of any sample rate and number of channels.
            channel: which one to hear, from 1 on; the mean of all if None, or the loudest where they cancel.
            style: how to write, one of `manifest.styles`; the model's first if None.
            beam: hypotheses kept while searching; the model's default if None.
            candidates: how many captions to return, best first.

        Raises:
            AudioError: the recording cannot be read, see `reading.load`, or is longer than the model takes.
            UsageError: a channel, style, beam or number of candidates that is not possible, or `recording` is
                none.
        """
        settings = self.own_search(beam, candidates)
        self._bundle.check_style(style)
        (heard,) = self._read(recording, one(channel), style)
        return self._captioned(self._listened(heard), settings)

    def caption_waveform(
        self,
        waveform: ArrayLike,
        sample_rate: int,
        *,
        channel: int | None = None,
        style: str | None = None,
        beam: int | None = None,
        candidates: int = 1,
    ) -> Caption:
        """Caption samples that are in memory already; see `listen` and `caption` for the arguments.

        Raises:
            AudioError: see `listen`.
            UsageError: a sample rate, channel, style, beam or number of candidates that is not possible.
        """
        settings = self.own_search(beam, candidates)
        self._bundle.check_style(style)
        sound = hearing.from_array(self._bundle, waveform, sample_rate, channel)
        return self._captioned(self._listened(_Heard(None, sound, style)), settings)

    def caption_many(
        self,
        recordings: Iterable[Recording],
        *,
        channel: Channel = None,
        style: str | None = None,
        beam: int | None = None,
        candidates: int = 1,
    ) -> Iterator[Caption | Failure]:
        """Caption recordings, several at a time; results come in their order, as they are ready.

        A recording that cannot be captioned gives a `Failure` and does not stop the others.

        Args:
            recordings: as for `caption`. They are taken as results are asked for, some ahead: a file that is
                named by its path stays until its result has come; what is open may be closed when the next
                one is taken.
            channel: as for `caption`; "each" gives a caption for every channel of a recording.
            style: as for `caption`.
            beam: as for `caption`.
            candidates: as for `caption`.

        Raises:
            UsageError: at the call, a channel, style, beam or number of candidates that is not possible, or
                one recording alone.
        """
        if isinstance(recordings, str | bytes | bytearray | memoryview | os.PathLike) or hasattr(
            recordings, "read"
        ):
            raise UsageError(
                f"caption_many takes a list of recordings; caption takes one: {recordings!r:.60}."
            )
        channel = checked(channel)
        settings = self.own_search(beam, candidates)
        self._bundle.check_style(style)
        limits = Limits(max(1, min(TOGETHER, _ROWS // settings.beam)), _SECONDS, 4 * TOGETHER)
        taken = (self._taken(recording, channel, style) for recording in recordings)
        return self._all(taken, settings, limits)

    def listen(
        self,
        waveform: ArrayLike,
        sample_rate: int,
        *,
        channel: int | None = None,
        style: str | None = None,
    ) -> EncodedClip:
        """Encode samples, once for any number of decodings.

        Args:
            waveform: [samples] or [samples, channels], of numpy, PyTorch or whatever becomes an array;
                numbers with a fraction within [-1, 1], which are clipped to it, or integers, which are
                divided by what their type can hold.
            sample_rate: Hz.
            channel: as for `caption`.
            style: as for `caption`.

        Raises:
            AudioError: the waveform is no such array, empty, holds hardly a number, or is longer than the
                model takes.
            UsageError: a sample rate, channel or style that is not possible.
        """
        self._bundle.check_style(style)
        sound = hearing.from_array(self._bundle, waveform, sample_rate, channel)
        return hearing.encoded(self._bundle, sound, style)

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
        try:
            found = self._search(clips, search, rules)
        except MemoryError as error:
            raise BundleError(NO_MEMORY) from error
        if not all(found):
            raise BundleError("The model gives no caption any probability. Copy or export the model again.")
        return [
            Caption(
                None,
                clip.seconds,
                tuple(self._candidate(hypothesis, clip) for hypothesis in hypotheses),
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

    def _read(self, recording: Recording, channel: Channel, style: str | None) -> list[_Heard]:
        name = name_of(recording)
        return [_Heard(name, sound, style) for sound in hearing.load(self._bundle, recording, channel)]

    def _read_or_failed(
        self, recording: Recording, channel: Channel, style: str | None
    ) -> Sequence[_Heard | Failure]:
        try:
            return self._read(recording, channel, style)
        except UsageError as error:
            return [Failure(f"{recording!r:.60}", str(error))]
        except BundleError as error:
            return [_no_caption(name_of(recording), error)]
        except OtoscribeError as error:
            return [Failure(name_of(recording), str(error))]

    def _taken(self, recording: Recording, channel: Channel, style: str | None) -> _Taken:
        """Return what reads a recording in whichever thread; what may change or be closed is read at once."""
        if isinstance(recording, str | bytes | os.PathLike):
            return partial(self._read_or_failed, recording, channel, style)
        read = self._read_or_failed(recording, channel, style)
        return lambda: read

    def _listened(self, heard: _Heard) -> _Listened:
        sound = heard.sound
        with self._one_long if sound.seconds > _LONG_SECONDS else nullcontext():
            clip = hearing.encoded(self._bundle, sound, heard.style)
        return _Listened(heard.file, sound.channel, sound.notes, clip)

    def _listened_or_failed(self, taken: _Taken) -> list[_Listened | Failure]:
        return [
            entry if isinstance(entry, Failure) else _or_failed(self._listened, entry) for entry in taken()
        ]

    def _captioned(self, listened: _Listened, settings: Search) -> Caption:
        return _told(self.decode([listened.clip], settings)[0], listened)

    def _all(
        self, recordings: Iterable[_Taken], settings: Search, limits: Limits
    ) -> Iterator[Caption | Failure]:
        ahead = _AHEAD * self._threads
        with closing(in_order(self._listened_or_failed, recordings, self._threads, ahead)) as listened:
            for first in listened:
                group = chain([first], islice(listened, TOGETHER - 1))
                for batch in batched(chain.from_iterable(group), _seconds, limits):
                    yield from self._all_captioned(batch, settings)

    def _all_captioned(
        self, batch: Sequence[_Listened | Failure], settings: Search
    ) -> Iterator[Caption | Failure]:
        waiting = [entry for entry in batch if isinstance(entry, _Listened)]
        results: Iterator[Caption | Failure]
        try:
            captions = self.decode([listened.clip for listened in waiting], settings)
            results = map(_told, captions, waiting)
        except BundleError:
            # Alone, each needs less memory, and what fails does not take the others along.
            results = (_or_failed(partial(self._captioned, settings=settings), entry) for entry in waiting)
        for entry in batch:
            yield entry if isinstance(entry, Failure) else next(results)

    def _search(
        self, clips: Sequence[EncodedClip], settings: Search, rules: Sequence[Rule]
    ) -> list[list[Hypothesis]]:
        stepper = OnnxStepper(self._bundle, clips)
        grounds = [ground for clip in clips if (ground := Ground.of(clip)) is not None]
        if len(grounds) < len(clips):
            return search_captions(stepper, settings, rules)
        return grounded_search(stepper, grounds, self._bundle.vocabulary, settings, rules)

    def _candidate(self, hypothesis: Hypothesis, clip: EncodedClip) -> Candidate:
        vocabulary = self._bundle.vocabulary
        words = [vocabulary.words[token] for token in hypothesis.tokens]
        # The end is the last of the tokens' probabilities; it counts for the confidence and is no word.
        parts = hypothesis.token_log_probabilities
        mean = hypothesis.log_probability / len(parts)
        ground, weights = Ground.of(clip), self.manifest.confidence
        if ground is None or weights is None:
            confidence = math.exp(mean)
        else:
            confidence = chance(weights, ground.signs(words, mean))
        return Candidate(
            caption=vocabulary.decode(hypothesis.tokens),
            log_probability=hypothesis.log_probability,
            confidence=confidence,
            words=tuple((word, math.exp(part)) for word, part in zip(words, parts, strict=False)),
        )


def _or_failed(work: Callable[[_Entry], _Result], entry: _Entry) -> _Result | Failure:
    try:
        return work(entry)
    except BundleError as error:
        return _no_caption(entry.file, error)


def _no_caption(file: str | None, error: BundleError) -> Failure:
    # It speaks of the model, not of what the model was given.
    return Failure(file, f"{file or 'The recording'} got no caption. {error}")


def _told(caption: Caption, listened: _Listened) -> Caption:
    return replace(caption, file=listened.file, channel=listened.channel, notes=listened.notes)


def _seconds(entry: _Listened | Failure) -> float:
    return 0.0 if isinstance(entry, Failure) else entry.clip.seconds
