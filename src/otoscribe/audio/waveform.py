"""Waveforms: arrays of many kinds → float32 [samples, channels], and resampling block by block.

soxr resamples with its HQ quality: pass band to 91 % of the lower Nyquist frequency, aliases below 20-bit
noise; VHQ costs more time for differences that 16-bit files cannot hold.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import soxr
from numpy.typing import ArrayLike, NDArray

from otoscribe.errors import AudioError, UsageError

Waveform = NDArray[np.float32]

SAMPLE_RATES = range(1_000, 1_000_001)
"""Hz. Outside it a header is wrong: telephony begins at 8 kHz, bat detectors end near 500 kHz."""

MOST_CHANNELS = 255
"""More are an array that lies the wrong way round, or a header that is wrong."""


class Block(NamedTuple):
    """A piece of a recording."""

    samples: Waveform
    """float32 [samples, channels]."""
    sample_rate: int
    """Hz."""


@dataclass(frozen=True)
class Audio:
    """One channel of a recording, or what its channels were mixed to."""

    waveform: Waveform
    """float32 [samples], in [-1, 1], at least one sample, all finite."""
    sample_rate: int
    """Hz."""
    channel: int | None = None
    """Which one was heard, from 1 on; None if all were mixed."""
    notes: tuple[str, ...] = ()
    """What is odd about the recording, see `Notes`."""

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


def can_be(channels: int, sample_rate: int) -> bool:
    """Tell whether a recording can be of this kind."""
    return 0 < channels <= MOST_CHANNELS and sample_rate in SAMPLE_RATES


def check_kind(name: str, channels: int, sample_rate: int) -> None:
    """Raise `AudioError` unless a recording can be of this kind."""
    if not can_be(channels, sample_rate):
        found = f"{channels} channel{'s'[: channels != 1]} at {sample_rate} Hz"
        raise AudioError(
            f"{name} has {found}, so its header is probably damaged; at most {MOST_CHANNELS} channels at "
            f"{SAMPLE_RATES[0]} to {SAMPLE_RATES[-1]} Hz can be heard."
        )


def resampled(blocks: Iterable[Block], sample_rate: int) -> Iterator[Waveform]:
    """Resample blocks to `sample_rate` (Hz), following the blocks' own rate and channels where they change.

    Each run of blocks of one kind gives one sample at least, for something was recorded.
    """
    run: _Run | None = None
    for block in blocks:
        kind = (block.sample_rate, block.samples.shape[1])
        if run is None or run.kind != kind:
            if run is not None:
                yield run.finish()
            run = _Run(kind, sample_rate)
        yield run.resample(block.samples)
    if run is not None:
        yield run.finish()


class _Run:
    """Resamples blocks of one rate and number of channels."""

    def __init__(self, kind: tuple[int, int], sample_rate: int) -> None:
        self.kind = kind
        self._first: Waveform = np.zeros((0, kind[1]), dtype=np.float32)
        self._samples = 0
        self._stream = None
        if kind[0] != sample_rate:
            self._stream = soxr.ResampleStream(kind[0], sample_rate, kind[1], dtype="float32", quality="HQ")

    def resample(self, samples: Waveform) -> Waveform:
        if self._stream is None:
            return samples
        if not len(self._first):
            self._first = samples[:1]
        done: Waveform = self._stream.resample_chunk(samples)
        self._samples += len(done)
        return done

    def finish(self) -> Waveform:
        if self._stream is None:
            return self._first
        rest: Waveform = self._stream.resample_chunk(self._first[:0], last=True)
        # Less than half a sample at the new rate rounds to none.
        return rest if self._samples + len(rest) else self._first


def samples_of(waveform: ArrayLike) -> Waveform:
    """Return float32 [samples, channels].

    Args:
        waveform: [samples] or [samples, channels]. Numbers with a fraction have the range [-1, 1]; integers
            are divided by what their type can hold, those of 64 bits by the least of 16, 24, 32 and 64 bits
            that holds them all, because no recording has 64. Unsigned ones have silence in the middle.

    Raises:
        AudioError: it has another shape or type, is masked, or lies beyond [-1, 1] as a whole.
    """
    samples = _array(waveform)
    if samples.ndim == 1:
        samples = samples[:, None]
    if samples.ndim != 2 or not 0 < samples.shape[1] <= MOST_CHANNELS:
        hint = "turn it round: waveform.T" if samples.ndim == 2 else "one recording at a time"
        raise AudioError(
            f"A waveform has the shape [samples] or [samples, channels], not {samples.shape}; {hint}."
        )
    if samples.dtype.kind in "iu":
        return scaled(samples, _bits(samples))
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


def scaled(samples: NDArray[Any], bits: int) -> Waveform:
    """Divide integers of so many bits by what they can hold; without a sign, silence is in the middle."""
    half = 2.0 ** (bits - 1)
    if samples.dtype.kind == "u":
        return ((samples - half) / half).astype(np.float32)
    return (samples / np.float32(half) if bits <= 16 else samples / half).astype(np.float32, copy=False)


def _array(waveform: ArrayLike) -> NDArray[Any]:
    if isinstance(waveform, np.ma.MaskedArray):
        raise AudioError("A masked waveform cannot be heard; fill it first: waveform.filled(0).")
    try:
        samples = np.asarray(_without_torch(waveform))
    except ValueError as error:
        raise AudioError(
            "A waveform is an array, [samples] or [samples, channels]; these rows differ in length."
        ) from error
    except (TypeError, RuntimeError) as error:
        said = str(error).rstrip(".")
        raise AudioError(f"This waveform cannot be turned into an array: {said}.") from error
    if samples.dtype.kind == "V" and "float" in samples.dtype.name:  # bfloat16, which numpy does not know
        samples = samples.astype(np.float32)
    if samples.dtype.kind not in "fiu":
        raise AudioError(
            f"A waveform of {samples.dtype} cannot be heard; give numbers with a fraction within [-1, 1], or "
            f"integers."
        )
    return samples


def _without_torch(waveform: Any) -> Any:
    """Return a tensor of PyTorch, which need not be installed, as something that numpy knows."""
    if not hasattr(waveform, "detach"):
        return waveform
    tensor = waveform.detach().cpu()
    return tensor.float() if tensor.is_floating_point() else tensor


def _bits(samples: NDArray[Any]) -> int:
    if samples.dtype.itemsize < 8 or not samples.size:
        return 8 * samples.dtype.itemsize
    lowest, highest = int(samples.min()), int(samples.max())
    signed = samples.dtype.kind == "i"
    for bits in (16, 24, 32):
        top = 1 << (bits - 1 if signed else bits)
        if -top <= lowest and highest < top:
            return bits
    return 64
