"""Windows: where the pieces of a clip lie that give one embedding each."""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Windows:
    """Windows of `length` samples, `hop` samples apart, the first one at the beginning of the clip.

    A clip shorter than a window is filled up with zeros to one, a longer one until its last sample lies in a
    window, so every sample counts and any length from 1 sample on works.
    """

    length: int
    """Samples under one window."""
    hop: int
    """Samples from one window to the next."""

    def count(self, samples: int) -> int:
        """Return how many windows a clip of `samples` samples has, at least 1."""
        steps = (samples - self.length + self.hop - 1) // self.hop
        # sym_max is max() that torch.export can trace while the length is unknown.
        return 1 + cast(int, torch.sym_max(steps, 0))  # type: ignore[no-untyped-call]

    def fill(self, waveforms: Tensor) -> Tensor:
        """Add zeros at the end of waveforms [clips, samples] until the last window is whole."""
        samples = waveforms.shape[-1]
        return F.pad(waveforms, (0, self.length + (self.count(samples) - 1) * self.hop - samples))

    def times(self, samples: int, sample_rate: int) -> list[tuple[float, float]]:
        """Return where each window of a clip begins and ends, in seconds; the last may end after the clip."""
        starts = [window * self.hop for window in range(self.count(samples))]
        return [(start / sample_rate, (start + self.length) / sample_rate) for start in starts]
