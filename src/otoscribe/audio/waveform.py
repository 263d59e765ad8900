"""Waveforms: arrays of many kinds → mono float32, and resampling block by block.

soxr resamples with its HQ quality: pass band to 91 % of the lower Nyquist frequency, aliases below 20-bit
noise; VHQ costs more time for differences that 16-bit files cannot hold.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr
from numpy.typing import ArrayLike, NDArray

from otoscribe.errors import AudioError, UsageError

Waveform = NDArray[np.float32]

SAMPLE_RATES = range(1_000, 1_000_001)
"""Hz. Outside it a header is wrong: telephony begins at 8 kHz, bat detectors end near 500 kHz."""


@dataclass(frozen=True)
class Audio:
    """A recording: the mean of its channels."""

    waveform: Waveform
    """float32 [samples], in [-1, 1], at least one sample, all finite."""
    sample_rate: int
    """Hz."""

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.waveform) / self.sample_rate


def check_rate(sample_rate: int) -> None:
    """Raise `UsageError` unless a sample rate is in `SAMPLE_RATES`."""
    if sample_rate not in SAMPLE_RATES:
        raise UsageError(
            f"A sample rate of {sample_rate} Hz is not possible; it must be a whole number from "
            f"{SAMPLE_RATES[0]} to {SAMPLE_RATES[-1]}."
        )


def resampled(blocks: Iterable[Waveform], original: int, sample_rate: int) -> Iterator[Waveform]:
    """Resample blocks of one waveform from `original` Hz to `sample_rate` Hz, to one sample at least."""
    if original == sample_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(original, sample_rate, num_channels=1, dtype="float32", quality="HQ")
    beginning, samples = np.zeros(0, dtype=np.float32), 0
    for block in blocks:
        beginning = beginning if len(beginning) else block[:1]
        resampled = stream.resample_chunk(block)
        samples += len(resampled)
        yield resampled
    rest = stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
    # Less than half a sample at the new rate rounds to none, but something was recorded.
    yield rest if samples + len(rest) else beginning


def samples_of(waveform: ArrayLike) -> Waveform:
    """Return float32 [samples], integers divided by what their type can hold.

    Raises:
        AudioError: it is not one-dimensional, masked, of another type, or beyond [-1, 1] as a whole.
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
        with np.errstate(over="ignore", invalid="ignore"):  # found, and said, when the samples are checked
            converted: Waveform = samples.astype(np.float32)
            beyond = np.count_nonzero(np.abs(converted) > 1.0)
        # A few samples overshoot now and then, and are clipped; most of them do where the scale is another.
        if beyond > converted.size / 2:
            raise AudioError(
                "Most numbers of the waveform are beyond [-1, 1]; divide them by the largest that the "
                "recording can hold, 32768 for 16 bits."
            )
        return converted
    # Python's integers become 64 bits wide, which no recording has: their range is not known.
    if samples.dtype.kind not in "iu" or samples.dtype.itemsize > 4:
        raise AudioError(
            f"A waveform of {samples.dtype} cannot be heard; give numbers with a fraction within [-1, 1], or "
            f"integers of 8, 16 or 32 bits."
        )
    half = 2.0 ** (8 * samples.dtype.itemsize - 1)
    # Without a sign, silence is in the middle.
    return ((samples - (half if samples.dtype.kind == "u" else 0.0)) / half).astype(np.float32)
