"""Recordings on disk → mono float32 waveforms, whole or as a stream of blocks."""

import math
import os
from collections.abc import Iterable, Iterator

import numpy as np

from otoscribe.audio import sndfile
from otoscribe.audio.waveform import Audio, Waveform, check_rate, resampled
from otoscribe.errors import AudioError, UsageError

_BLOCK = 1 << 18
"""Samples of a waveform in memory that are resampled at a time: 1 MiB."""


def load(path: str | os.PathLike[str], sample_rate: int, longest_seconds: float = math.inf) -> Audio:
    """Read a recording whole, as the mean of its channels at `sample_rate` (Hz).

    Only the result is held in memory, 4 bytes per sample at the new rate, however long, wide or finely
    sampled the file is. Integer formats are scaled to [-1, 1); what goes beyond is clipped.

    Raises:
        AudioError: the file is missing, a folder, a pipe, not readable, not audio, cut short, empty, has a
            sample rate outside `SAMPLE_RATES`, lasts more than `longest_seconds` (noticed before the rest is
            decoded), or holds a sample that is not a finite number.
        UsageError: `sample_rate` is outside `SAMPLE_RATES`.
    """
    return _gathered(path, _read(path, sample_rate), sample_rate, longest_seconds)


def stream(path: str | os.PathLike[str], sample_rate: int, seconds: float) -> Iterator[Waveform]:
    """Read a recording in blocks of `seconds`, the last one shorter; joined, they are what `load` gives.

    Args:
        path: the recording.
        sample_rate: Hz, of the blocks.
        seconds: of a block; rounded to samples, one at least.

    Raises:
        AudioError: as `load`; damage is noticed where it lies, after the blocks before it.
        UsageError: `sample_rate` is outside `SAMPLE_RATES`, or `seconds` is no such number.
    """
    if not 0 < seconds < math.inf:
        raise UsageError(f"A block lasts a number of seconds above 0, not {seconds!r}.")
    size = max(1, round(seconds * sample_rate))
    waiting = np.zeros(0, dtype=np.float32)
    samples = 0
    for block in _read(path, sample_rate):
        waiting = np.concatenate([waiting, block])
        samples += len(block)
        while len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]
    if not samples:
        raise _empty(path)
    if len(waiting):
        yield waiting


def resample(waveform: Waveform, original: int, sample_rate: int, longest_seconds: float = math.inf) -> Audio:
    """Resample float32 [samples] from `original` Hz to `sample_rate` Hz; what goes beyond [-1, 1] is clipped.

    Raises:
        UsageError: a rate is outside `SAMPLE_RATES`.
        AudioError: the waveform is empty, lasts more than `longest_seconds`, or a sample is not finite.
    """
    check_rate(original)
    check_rate(sample_rate)
    name = "The waveform"
    blocks = (waveform[start : start + _BLOCK] for start in range(0, len(waveform), _BLOCK))
    checked = _resampled(name, blocks, original, sample_rate)
    return _gathered(name, checked, sample_rate, longest_seconds)


def _read(path: str | os.PathLike[str], sample_rate: int) -> Iterator[Waveform]:
    check_rate(sample_rate)
    with sndfile.opened(path) as file:
        yield from _resampled(path, sndfile.blocks(path, file), file.samplerate, sample_rate)


def _resampled(
    name: str | os.PathLike[str], blocks: Iterable[Waveform], original: int, sample_rate: int
) -> Iterator[Waveform]:
    # Before resampling as well, which would spread one wild sample over its neighbours.
    return _checked(name, resampled(_checked(name, blocks), original, sample_rate))


def _checked(name: str | os.PathLike[str], blocks: Iterable[Waveform]) -> Iterator[Waveform]:
    """Pass blocks on, within [-1, 1]; each by itself, so that a stream has the samples of the whole."""
    for block in blocks:
        if not np.isfinite(block).all():
            raise AudioError(
                f"{name} holds samples that are not finite numbers of 32 bits (NaN, infinity or over 3.4e38)."
            )
        # Float files, lossy codecs and resampling may overshoot; models expect what integer formats can hold.
        yield np.clip(block, -1.0, 1.0)


def _gathered(
    name: str | os.PathLike[str], blocks: Iterable[Waveform], sample_rate: int, longest_seconds: float
) -> Audio:
    """Join blocks into a recording of at most `longest_seconds`."""
    # Grown by reallocation: a header may promise any length, and joining a list would hold everything twice.
    gathered = bytearray()
    try:
        for block in blocks:
            gathered += block.tobytes()
            if len(gathered) > longest_seconds * sample_rate * block.itemsize:
                raise AudioError(
                    f"{name} lasts more than {longest_seconds / 60:g} minutes, which is too long to be heard "
                    f"at once; cut it into parts."
                )
    except MemoryError as error:
        raise AudioError(f"{name} is too long for this machine's memory; cut it into parts.") from error
    if not gathered:
        raise _empty(name)
    return Audio(np.frombuffer(gathered, dtype=np.float32), sample_rate)


def _empty(name: str | os.PathLike[str]) -> AudioError:
    return AudioError(f"{name} is empty: it holds no samples.")
