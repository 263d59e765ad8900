"""Captions of many lengths as one row of tokens: nothing is filled up, so nothing is computed for filling."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Self

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Where the tokens of captions lie, captions one after the other and equally long ones side by side."""

    shapes: tuple[tuple[int, int], ...]
    """Blocks of equally long captions: how many, and tokens of each."""
    positions: Tensor
    """int64 [tokens], place of each token in its caption, from 0."""
    slots: Tensor
    """int64 [tokens], place of each token in [clips, most], where a clip's tokens stand together."""
    most: int
    """Tokens of the clip that has most."""

    @classmethod
    def of(cls, lengths: Sequence[int], clip_of_row: Sequence[int]) -> Self:
        """Return how captions lie.

        Args:
            lengths: tokens of each caption.
            clip_of_row: which clip each describes.
        """
        shapes = tuple((len(list(block)), length) for length, block in groupby(lengths))
        positions = np.concatenate([np.tile(np.arange(time), rows) for rows, time in shapes])
        clips = np.repeat(np.asarray(clip_of_row), lengths)
        counts = np.bincount(clips)
        order = clips.argsort(kind="stable")
        ranks = np.empty_like(order)
        ranks[order] = np.arange(len(order)) - np.repeat(counts.cumsum() - counts, counts)
        most = int(counts.max())
        return cls(shapes, torch.from_numpy(positions), torch.from_numpy(clips * most + ranks), most)

    @property
    def blocks(self) -> list[int]:
        """Tokens of each block."""
        return [rows * time for rows, time in self.shapes]

    def to(self, device: torch.device) -> Self:
        """Copy to a device."""
        return type(self)(self.shapes, self.positions.to(device), self.slots.to(device), self.most)
