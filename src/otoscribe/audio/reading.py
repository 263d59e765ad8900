"""Recordings and arrays → float32 waveforms at a model's rate, whole or as a stream of blocks."""

import math
from collections.abc import Callable, Iterator
from functools import cache, partial

import numpy as np
from numpy.typing import ArrayLike

from otoscribe.audio import sources
from otoscribe.audio.channels import Channel, Powers, checked, mixed
from otoscribe.audio.decoding import blocks as decoded
from otoscribe.audio.levels import Levels
from otoscribe.audio.notes import Notes
from otoscribe.audio.sources import Recording
from otoscribe.audio.waveform import Audio, Block, Waveform, check_rate, resampled, samples_of
from otoscribe.errors import AudioError, UsageError

_BLOCK = 1 << 18
"""Values of an array in memory that are passed on at a time: 1 MiB."""

_Decode = Callable[[Notes], Iterator[Block]]
"""Starts decoding from the beginning, whenever it is called."""


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
    (audio,) = _load(recording, sample_rate, longest_seconds, _one(channel))
    return audio


def load_each(recording: Recording, sample_rate: int, longest_seconds: float = math.inf) -> tuple[Audio, ...]:
    """Read each channel of a recording by itself; see `load`.

    Raises:
        AudioError: as for `load`, or the number of channels changes within the recording.
        UsageError: `sample_rate` is outside `SAMPLE_RATES`.
    """
    return _load(recording, sample_rate, longest_seconds, "each")


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
    check_rate(original)
    check_rate(sample_rate)
    samples = samples_of(waveform)
    size = max(1, _BLOCK // samples.shape[1])

    def decode(notes: Notes) -> Iterator[Block]:
        return (Block(samples[start : start + size], original) for start in range(0, len(samples), size))

    (audio,) = _Hearing(decode, "The waveform", sample_rate, _one(channel)).whole(longest_seconds)
    return audio


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
        heard = _Hearing(partial(decoded, source), source.name, sample_rate, _one(channel))
        for block in heard.blocks(Notes() if notes is None else notes, cache(heard.cancelling)):
            waiting = np.concatenate([waiting, block[:, 0]])
            while len(waiting) >= size:
                yield waiting[:size]
                waiting = waiting[size:]
    if len(waiting):
        yield waiting


def _one(channel: object) -> int | None:
    if (known := checked(channel)) == "each":
        raise UsageError("Only caption_many and load_each hear each channel; name one by its number.")
    return known


def _load(
    recording: Recording, sample_rate: int, longest_seconds: float, channel: Channel
) -> tuple[Audio, ...]:
    check_rate(sample_rate)
    with sources.opened(recording) as source:
        return _Hearing(partial(decoded, source), source.name, sample_rate, channel).whole(longest_seconds)


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

    def whole(self, longest_seconds: float) -> tuple[Audio, ...]:
        """Hear all of it."""
        samples, notes = self._gathered(longest_seconds, {})
        # Only its end tells whether channels cancel, and hardly any do.
        if self._channel is None and (loudest := self._powers.loudest()):
            samples, notes = self._gathered(longest_seconds, loudest)
        waveforms = np.ascontiguousarray(samples.T)
        first = 1 if self._channel == "each" else self._channel
        return tuple(
            Audio(waveform, self._sample_rate, first and first + index, tuple(notes))
            for index, waveform in enumerate(waveforms)
        )

    def _gathered(self, longest_seconds: float, loudest: dict[int, int]) -> tuple[Waveform, Notes]:
        # Grown by reallocation, since joining a list would hold everything twice.
        gathered, notes, channels = bytearray(), Notes(), 1
        try:
            for block in self.blocks(notes, lambda: loudest):
                gathered += block.tobytes()
                channels = block.shape[1]
                if len(gathered) > longest_seconds * self._sample_rate * channels * block.itemsize:
                    raise AudioError(
                        f"{self._name} lasts more than {longest_seconds / 60:g} minutes, which is too long "
                        f"to be heard at once; cut it into parts."
                    )
        except MemoryError as error:
            raise AudioError(
                f"{self._name} is too long for this machine's memory; cut it into parts."
            ) from error
        return np.frombuffer(gathered, dtype=np.float32).reshape(-1, channels), notes
