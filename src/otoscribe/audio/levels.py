"""Samples that no recording should hold: what is no number, what is far too loud, and nothing at all."""

from collections.abc import Iterable, Iterator

import numpy as np

from otoscribe.audio.notes import Notes
from otoscribe.audio.waveform import Block, Waveform
from otoscribe.errors import AudioError

_WILD = 4.0
"""Beyond so many times full scale (12 dB) no codec overshoots."""

_SILENT = 2.0**-14
"""Peak of what only a 16-bit converter's last bit moves: -84 dB."""


class Levels:
    """Checks samples while they pass.

    Args:
        name: of the recording, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._values = self._no_numbers = self._wild = 0
        self._peak = 0.0

    def clipped(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Pass blocks on within [-1, 1]; what is no number becomes 0.

        Each sample by itself, and before mixing and resampling, which would spread one wild sample over its
        neighbours. Float files and lossy codecs overshoot; models expect what integer formats can hold.
        """
        for samples, rate in blocks:
            self._values += samples.size
            if not np.abs(samples).max(initial=0.0) <= 1.0:  # nor is what is no number
                self._no_numbers += int(samples.size - np.isfinite(samples).sum())
                samples = np.nan_to_num(samples, posinf=1.0, neginf=-1.0)
                self._wild += int(np.count_nonzero(np.abs(samples) > _WILD))
                samples = samples.clip(-1.0, 1.0)
            yield Block(samples, rate)

    def heard(self, blocks: Iterable[Waveform]) -> Iterator[Waveform]:
        """Pass on what is heard, after resampling, which may overshoot once more."""
        for samples in blocks:
            peak = float(np.abs(samples).max(initial=0.0))
            self._peak = max(self._peak, peak)
            yield samples if peak <= 1.0 else samples.clip(-1.0, 1.0)

    def finish(self, notes: Notes) -> None:
        """Say what is odd, now that all has passed.

        Raises:
            AudioError: nothing has passed, or hardly anything that is a number.
        """
        if not self._values:
            found = "; ".join(notes)
            raise AudioError(
                f"{self._name} holds nothing that can be heard: {found}."
                if found
                else f"{self._name} is empty: it holds no samples."
            )
        if self._no_numbers > self._values / 2:
            raise AudioError(
                f"{self._name} holds samples that are not finite numbers (NaN, infinity or over 3.4e38), "
                f"most of them; save it again as integers."
            )
        if self._no_numbers:
            notes.add(
                f"{_samples(self._no_numbers)} without a finite number {_were(self._no_numbers)} replaced"
            )
        if self._wild > self._values / 2:
            notes.add(
                "most of its samples lie far beyond full scale and were clipped; divide them by their largest"
            )
        elif self._wild:
            notes.add(f"{_samples(self._wild)} far beyond full scale {_were(self._wild)} clipped")
        if self._peak < _SILENT:
            notes.add("it is silent")


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _samples(number: int) -> str:
    return f"{number} sample{'s'[: number > 1]}"
