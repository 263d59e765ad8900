"""Windows: where the pieces of a clip lie that give one embedding each."""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from otoscribe.audio.pieces import ReceptiveField


@dataclass(frozen=True)
class Windows:
    """Windows of `length` samples, `hop` samples apart, the first one at the beginning of the clip.

    A clip shorter than a window is filled up with zeros to one, so that any length from 1 sample on works. A
    longer one is filled up until its last sample lies in a window, or ends with its last whole window.
    """

    length: int
    """Samples under one window."""
    hop: int
    """Samples from one window to the next."""
    whole_only: bool = False
    """Leave out what fills no window at the end of a clip that has others."""

    def count(self, samples: int) -> int:
        """Return how many windows a clip of `samples` samples has, at least 1."""
        incomplete = 0 if self.whole_only else self.hop - 1
        steps = (samples - self.length + incomplete) // self.hop
        # sym_max is max() that torch.export can trace while the length is unknown.
        return 1 + cast(int, torch.sym_max(steps, 0))  # type: ignore[no-untyped-call]

    def fill(self, waveforms: Tensor) -> Tensor:
        """Add zeros at the end of waveforms [clips, samples] until the last window is whole."""
        samples = waveforms.shape[-1]
        missing = self.length + (self.count(samples) - 1) * self.hop - samples
        if self.whole_only:  # never less than none: what is left out stays
            missing = cast(int, torch.sym_max(self.length - samples, 0))  # type: ignore[no-untyped-call]
        return F.pad(waveforms, (0, missing))

    def split(self, waveforms: Tensor) -> Tensor:
        """Return the windows of waveforms [clips, samples], [clips, windows, length]."""
        steps_per_window, rest = divmod(self.length, self.hop)
        if rest:
            raise ValueError(f"A window of {self.length} samples is no multiple of {self.hop}.")
        count = self.count(waveforms.shape[-1])
        return overlapping(self.fill(waveforms)[..., None], count, self.hop, steps_per_window)[..., 0]

    def receptive_field(self, before: int = 0, length: int = 0) -> ReceptiveField:
        """Return how far a frame of each window sees.

        Args:
            before: how many samples were put before the clip.
            length: samples that are seen from the beginning of a window on, if more than a window has; also
                the least that a clip has once it is filled up.
        """
        after = -(-max(self.length, length) // self.hop)
        return ReceptiveField(hop=self.hop, before=-(-before // self.hop), after=after)

    def times(self, samples: int, sample_rate: int, before: int = 0) -> list[tuple[float, float]]:
        """Return where each window of a clip begins and ends, in seconds; the last may end after the clip.

        Args:
            samples: length of the clip, with what was put before and after it.
            sample_rate: samples per second.
            before: how many samples were put before the clip.
        """
        starts = [window * self.hop - before for window in range(self.count(samples))]
        return [(start / sample_rate, (start + self.length) / sample_rate) for start in starts]


def overlapping(values: Tensor, count: int, step: int, steps_per_window: int) -> Tensor:
    """Cut values [clips, time, width] into windows [clips, count, steps_per_window * step, width].

    Args:
        values: at least as long as the windows together.
        count: how many windows.
        step: places from one window to the next.
        steps_per_window: steps in one window; neighbours share all but one.
    """
    length = (count + steps_per_window - 1) * step
    steps = values[:, :length].reshape(values.shape[0], -1, step, values.shape[-1])
    return torch.cat([steps[:, i : i + count] for i in range(steps_per_window)], dim=2)
