"""Channels → what is heard: their mean, one of them, or each by itself."""

import contextlib
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from otoscribe.audio.notes import Notes
from otoscribe.audio.waveform import Block
from otoscribe.errors import AudioError, UsageError

Channel = int | Literal["each"] | None
"""One channel by its number, from 1 on; each by itself; or, if None, the mean of all."""

_CANCELLED = 0.1
"""Channels cancel each other if their mean has less than this share of what unrelated ones leave."""


def checked(channel: Any) -> Channel:
    """Return a channel.

    Raises:
        UsageError: it is none.
    """
    if channel is None:
        return None
    if channel == "each":
        return "each"
    with contextlib.suppress(TypeError):
        number = operator.index(channel)  # also numpy's integers
        if number >= 1 and not isinstance(channel, bool):
            return int(number)
    raise UsageError(f"There is no channel {channel!r}; give a number from 1 on, or 'each'.")


def one(channel: Any) -> int | None:
    """Return a channel, or None for the mean of all.

    Raises:
        UsageError: it is neither.
    """
    if (known := checked(channel)) == "each":
        raise UsageError("Only caption_many and load_each hear each channel; name one by its number.")
    return known


_FEW = 200
"""Samples."""


class Powers:
    """Measures channels while they pass, to tell whether their mean can be heard."""

    def __init__(self) -> None:
        self._sums: dict[int, NDArray[np.float64]] = {}
        """By number of channels: sums of squares of each, and of their mean."""
        self._samples: Counter[int] = Counter()

    def measured(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Pass blocks on."""
        for block in blocks:
            samples = block.samples
            channels = samples.shape[1]
            if channels > 1:
                self._samples[channels] += len(samples)
                products = (samples.T @ samples).astype(np.float64)
                powers = np.append(products.diagonal(), products.sum() / channels**2)
                self._sums[channels] = self._sums.get(channels, 0.0) + powers
            yield block

    def loudest(self) -> dict[int, int]:
        """Return the loudest channel, from 0 on, by number of channels, where these cancel each other."""
        return {
            channels: int(sums[:-1].argmax())
            for channels, sums in self._sums.items()
            # A few samples may cancel by chance.
            if self._samples[channels] >= _FEW
            # Unrelated channels leave a mean with the channels' mean power over their number.
            and sums[-1] < _CANCELLED * sums[:-1].sum() / channels**2
        }


def mixed(
    blocks: Iterable[Block],
    channel: Channel,
    loudest: Callable[[], dict[int, int]],
    name: str,
    notes: Notes,
) -> Iterator[Block]:
    """Reduce blocks to what is heard, [samples, 1], or [samples, channels] of each.

    Args:
        blocks: of a recording.
        channel: which of them.
        loudest: returns what is heard instead of the mean, see `Powers.loudest`; asked if there are several.
        name: of the recording, for messages.
        notes: where to say that channels cancel.

    Raises:
        AudioError: there is no such channel, or the number of channels changes while each is heard.
    """
    first: int | None = None
    for samples, rate in blocks:
        channels = samples.shape[1]
        first = first or channels
        if channel == "each":
            if channels != first:
                raise AudioError(
                    f"{name} has channels that come or go, first {first}, then {channels}; each cannot be "
                    f"heard by itself, but one of them (channel 1) or their mean can."
                )
            yield Block(samples, rate)
        elif channel is None and channels == 1:
            yield Block(samples, rate)
        elif channel is None:
            chosen = loudest().get(channels)
            if chosen is not None:
                notes.add(f"its channels cancel each other, so that only channel {chosen + 1} is heard")
                yield Block(samples[:, chosen : chosen + 1], rate)
            else:
                yield Block(samples @ np.full((channels, 1), 1 / channels, np.float32), rate)
        else:
            if channel > channels:
                raise AudioError(
                    f"{name} has {channels} channel{'s'[: channels > 1]}; there is no channel {channel}."
                )
            yield Block(samples[:, channel - 1 : channel], rate)
