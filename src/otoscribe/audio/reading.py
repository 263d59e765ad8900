"""Recordings and arrays → float32 waveforms at a model's rate, whole or as a stream of blocks."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from otoscribe.audio import sources
from otoscribe.audio.channels import Channel, Powers, checked, mixed, one
from otoscribe.audio.decoding import blocks as decoded
from otoscribe.audio.levels import Levels
from otoscribe.audio.notes import Notes
from otoscribe.audio.pieces import joined
from otoscribe.audio.sources import Recording
from otoscribe.audio.waveform import Audio, Block, Waveform, check_rate, resampled, samples_of
from otoscribe.errors import AudioError, UsageError

_BLOCK = 1 << 18
"""Values of an array in memory that are passed on at a time: 1 MiB."""

T = TypeVar("T")

Gather = Callable[[Iterator[Waveform]], Sequence[T]]
"""Makes something of each channel of a recording, from all of its blocks [samples, channels], one by one."""

_Decode = Callable[[Notes], Iterator[Block]]
"""Starts decoding from the beginning, whenever it is called."""


class Gathered(NamedTuple, Generic[T]):
    """What was made of one channel of a recording, or of what its channels were mixed to."""

    result: T
    channel: int | None
    """As `Audio.channel`."""
    notes: tuple[str, ...]
    """As `Audio.notes`."""


def load(
    recording: Recording,
    sample_rate: int,
    longest_seconds: float = math.inf,
    channel: int | None = None,
) -> Audio:
    """Read a recording whole.

    Only the result is held in memory, 4 bytes per sample at the new rate, however long, wide or finely
    sampled the file is. Integer formats are scaled to [-1, 1); what goes beyond is clipped. What is odd, but
    can be heard, is in the result's `notes`.

    Args:
        recording: a path, the content of a file, or an open binary file, read from its present position on.
        sample_rate: Hz, of the result.
        longest_seconds: longer recordings are refused before the rest of them is decoded.
        channel: one of them, from 1 on; if None their mean, or the loudest where they cancel each other.

    Raises:
        AudioError: the file is missing, a folder, a device, not readable, not audio, empty, has a sample rate
            outside `SAMPLE_RATES`, no such channel, lasts more than `longest_seconds`, or holds hardly a
            sample that is a number.
        UsageError: `sample_rate` is outside `SAMPLE_RATES`, or there can be no such channel.
    """
    (audio,) = _audios(gather(recording, sample_rate, _waveforms, longest_seconds, one(channel)), sample_rate)
    return audio


def load_each(recording: Recording, sample_rate: int, longest_seconds: float = math.inf) -> tuple[Audio, ...]:
    """Read each channel of a recording by itself; see `load`.

    Raises:
        AudioError: as for `load`, or the number of channels changes within the recording.
        UsageError: `sample_rate` is outside `SAMPLE_RATES`.
    """
    return _audios(gather(recording, sample_rate, _waveforms, longest_seconds, "each"), sample_rate)


def from_array(
    waveform: ArrayLike,
    original: int,
    sample_rate: int,
    longest_seconds: float = math.inf,
    channel: int | None = None,
) -> Audio:
    """Resample an array as `load` does a recording.

    Args:
        waveform: [samples] or [samples, channels], see `samples_of`.
        original: its sample rate, Hz.
        sample_rate: Hz, of the result.
        longest_seconds: more is refused.
        channel: as for `load`.

    Raises:
        AudioError: it is no such array, empty, lasts more than `longest_seconds`, or holds hardly a number.
        UsageError: a rate is outside `SAMPLE_RATES`, or there can be no such channel.
    """
    (audio,) = _audios(
        gather_array(waveform, original, sample_rate, _waveforms, longest_seconds, channel), sample_rate
    )
    return audio


def gather(
    recording: Recording,
    sample_rate: int,
    into: Gather[T],
    longest_seconds: float = math.inf,
    channel: Channel = None,
) -> tuple[Gathered[T], ...]:
    """Read a recording block by block, into whatever is made of it; see `load`, which makes one waveform.

    Args:
        recording: as for `load`.
        sample_rate: Hz, of the blocks.
        into: called with the blocks, and called again with others where it turns out at their end that the
            channels cancel each other.
        longest_seconds: as for `load`.
        channel: as for `load`; or "each", and the blocks have as many channels as the recording.

    Raises:
        AudioError: as `load`.
        UsageError: as `load`.
    """
    check_rate(sample_rate)
    with sources.opened(recording) as source:
        heard = _Hearing(partial(decoded, source), source.name, sample_rate, checked(channel))
        return heard.whole(into, longest_seconds)


def gather_array(
    waveform: ArrayLike,
    original: int,
    sample_rate: int,
    into: Gather[T],
    longest_seconds: float = math.inf,
    channel: int | None = None,
) -> tuple[Gathered[T], ...]:
    """Resample an array block by block, into whatever is made of it; see `from_array` and `gather`."""
    check_rate(original)
    check_rate(sample_rate)
    samples = samples_of(waveform)
    size = max(1, _BLOCK // samples.shape[1])

    def decode(notes: Notes) -> Iterator[Block]:
        return (Block(samples[start : start + size], original) for start in range(0, len(samples), size))

    return _Hearing(decode, "The waveform", sample_rate, one(channel)).whole(into, longest_seconds)


def stream(
    recording: Recording,
    sample_rate: int,
    seconds: float,
    channel: int | None = None,
    notes: Notes | None = None,
) -> Iterator[Waveform]:
    """Read a recording in blocks, the last one shorter; joined, they are what `load` gives.

    A recording with several channels is decoded twice, since only its end tells whether they cancel.

    Args:
        recording: as for `load`.
        sample_rate: Hz, of the blocks.
        seconds: of a block; rounded to samples, one at least.
        channel: one of them, or their mean.
        notes: is told what is odd, at the end.

    Raises:
        AudioError: as `load`.
        UsageError: as `load`, or `seconds` is no such number.
    """
    if not 0 < seconds < math.inf:
        raise UsageError(f"A block lasts a number of seconds above 0, not {seconds!r}.")
    check_rate(sample_rate)
    size = max(1, round(seconds * sample_rate))
    waiting = np.zeros(0, dtype=np.float32)
    with sources.opened(recording) as source:
        heard = _Hearing(partial(decoded, source), source.name, sample_rate, one(channel))
        for block in heard.blocks(Notes() if notes is None else notes, cache(heard.cancelling)):
            waiting = np.concatenate([waiting, block[:, 0]])
            while len(waiting) >= size:
                yield waiting[:size]
                waiting = waiting[size:]
    if len(waiting):
        yield waiting


def _waveforms(blocks: Iterator[Waveform]) -> list[Waveform]:
    return [np.ascontiguousarray(waveform) for waveform in joined(blocks).T]


def _audios(gathered: Sequence[Gathered[Waveform]], sample_rate: int) -> tuple[Audio, ...]:
    return tuple(Audio(one.result, sample_rate, one.channel, one.notes) for one in gathered)


class _Hearing:
    """Hears a recording, more than once if need be."""

    def __init__(self, decode: _Decode, name: str, sample_rate: int, channel: Channel) -> None:
        self._decode, self._name, self._sample_rate = decode, name, sample_rate
        self._channel = channel
        self._powers = Powers()

    def blocks(self, notes: Notes, loudest: Callable[[], dict[int, int]]) -> Iterator[Waveform]:
        """Yield float32 [samples, 1], or [samples, channels] if each is heard.

        Args:
            notes: is told what is odd.
            loudest: tells which channels to hear where their mean cannot be; asked if there are several.
        """
        levels = Levels(self._name)
        clipped = self._powers.measured(levels.clipped(self._decode(notes)))
        heard = mixed(clipped, self._channel, loudest, self._name, notes)
        yield from levels.heard(resampled(heard, self._sample_rate))
        levels.finish(notes)

    def cancelling(self) -> dict[int, int]:
        """Decode once more to find out which channels to hear where their mean cannot be."""
        powers = Powers()
        for _ in powers.measured(Levels(self._name).clipped(self._decode(Notes()))):
            pass
        return powers.loudest()

    def whole(self, into: Gather[T], longest_seconds: float) -> tuple[Gathered[T], ...]:
        """Hear all of it."""
        results, notes = self._gathered(into, longest_seconds, {})
        # Only its end tells whether channels cancel, and hardly any do.
        if self._channel is None and (loudest := self._powers.loudest()):
            results, notes = self._gathered(into, longest_seconds, loudest)
        first = 1 if self._channel == "each" else self._channel
        return tuple(
            Gathered(result, first and first + index, tuple(notes)) for index, result in enumerate(results)
        )

    def _gathered(
        self, into: Gather[T], longest_seconds: float, loudest: dict[int, int]
    ) -> tuple[Sequence[T], Notes]:
        notes = Notes()
        try:
            return into(self._limited(self.blocks(notes, lambda: loudest), longest_seconds)), notes
        except MemoryError as error:
            raise AudioError(
                f"{self._name} is too long for this machine's memory; cut it into parts."
            ) from error

    def _limited(self, blocks: Iterator[Waveform], longest_seconds: float) -> Iterator[Waveform]:
        samples = 0
        for block in blocks:
            samples += len(block)
            if samples > longest_seconds * self._sample_rate:
                raise AudioError(
                    f"{self._name} lasts more than {longest_seconds / 60:g} minutes, which is too long to be "
                    f"heard at once; cut it into parts."
                )
            yield block
