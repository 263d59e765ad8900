"""Recordings → what a model encodes: waveforms of short ones, and the frames that long ones gave in pieces.

Of a long recording, no more than a piece of its waveform is held at a time.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from otoscribe.audio.channels import Channel
from otoscribe.audio.pieces import pieces
from otoscribe.audio.reading import Gathered, gather, gather_array
from otoscribe.audio.sources import Recording
from otoscribe.audio.waveform import Audio, Waveform
from otoscribe.bundle.bundle import Bundle, EncodedClip


@dataclass(frozen=True)
class Features:
    """What the encoder made of one channel of a long recording, or of what its channels were mixed to."""

    values: NDArray[np.float32]
    """[frames, width]."""
    seconds: float
    """Duration of the recording."""
    channel: int | None = None
    """As `Audio.channel`."""
    notes: tuple[str, ...] = ()
    """As `Audio.notes`."""


Sound = Audio | Features


def load(bundle: Bundle, recording: Recording, channel: Channel = None) -> tuple[Sound, ...]:
    """Read a recording, or each of its channels; what is longer than a piece is encoded meanwhile.

    Raises:
        AudioError: the recording cannot be read, see `reading.load`, or is longer than the model takes.
        BundleError: the encoder does not run, as it happens when memory runs out.
        UsageError: there can be no such channel, or `recording` is none.
    """
    rate, longest = bundle.manifest.sample_rate, bundle.manifest.longest_seconds
    return _sounds(gather(recording, rate, partial(_sound, bundle), longest, channel))


def from_array(bundle: Bundle, waveform: ArrayLike, sample_rate: int, channel: int | None = None) -> Sound:
    """Resample an array; what is longer than a piece is encoded meanwhile.

    Raises:
        AudioError: see `reading.from_array`, or it is longer than the model takes.
        BundleError: the encoder does not run, as it happens when memory runs out.
        UsageError: a sample rate or channel that is not possible.
    """
    rate, longest = bundle.manifest.sample_rate, bundle.manifest.longest_seconds
    (sound,) = _sounds(gather_array(waveform, sample_rate, rate, partial(_sound, bundle), longest, channel))
    return sound


def encoded(bundle: Bundle, sound: Sound, style: str | None) -> EncodedClip:
    """Return what the decoder attends to; see `Bundle.listen`."""
    if isinstance(sound, Audio):
        return bundle.listen([sound.waveform], style)[0]
    return bundle.adapt(sound.values[None], sound.seconds, style)[0]


def _sound(bundle: Bundle, blocks: Iterator[Waveform]) -> list[Sound]:
    """Gather a recording: its channels' waveforms, or frames where they are longer than a piece."""
    rate = bundle.manifest.sample_rate
    frames: list[bytearray] = []
    for piece in pieces(blocks, bundle.manifest.receptive_field, rate):
        channels = piece.samples.T
        if piece.is_last and piece.start == 0:
            return [Audio(np.ascontiguousarray(waveform), rate) for waveform in channels]
        frames = frames or [bytearray() for _ in channels]
        for gathered, waveform in zip(frames, channels, strict=True):
            gathered += bundle.encode([waveform])[0, piece.kept].tobytes()
        samples = piece.start + len(piece.samples)
    width = bundle.encoder.sizes["width"]
    return [
        Features(np.frombuffer(values, np.float32).reshape(-1, width), samples / rate) for values in frames
    ]


def _sounds(gathered: Iterable[Gathered[Sound]]) -> tuple[Sound, ...]:
    return tuple(replace(one.result, channel=one.channel, notes=one.notes) for one in gathered)
