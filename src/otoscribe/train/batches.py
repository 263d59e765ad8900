"""Batches of pairs of clip and caption that leave out what need not be computed.

A clip is in a batch once, with all its captions, so that adapter and memory projections run once for all
of them. Clips of like length share a batch, captions of like length share a group of rows, and the
classifier runs on real tokens only.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, Self

import torch
from torch import Tensor

from otoscribe.model.caption_model import CaptionModel
from otoscribe.text.vocabulary import END, PAD, START

Memory = tuple[Tensor, Tensor, Tensor | None]
"""Keys and values of the decoder's cross-attention, and the mask, as `CaptionModel.remember` returns them."""

POOL = 8
"""Batches shuffled together before they are cut by length: more save padding, fewer mix better."""

GROUPS = 4
"""Groups of rows per batch: more save padding, fewer make larger matrices."""


@dataclass(frozen=True)
class Rows:
    """Captions of like length."""

    tokens: Tensor
    """int64 [rows, time], START, then words; PAD after a caption's end."""
    targets: Tensor
    """int64 [rows, time], the words, then END; PAD after it."""
    clip_of_row: Tensor
    """int64 [rows], index into the batch's clips."""

    @classmethod
    def of(cls, captions: Sequence[Sequence[int]], clips: Sequence[int]) -> Self:
        """Lay captions, ids without START and END, side by side; `clips` says which clip each describes."""
        time = max(len(words) for words in captions) + 1
        tokens = torch.full((len(captions), time), PAD)
        targets = torch.full((len(captions), time), PAD)
        for row, words in enumerate(captions):
            tokens[row, : len(words) + 1] = torch.tensor([START, *words])
            targets[row, : len(words) + 1] = torch.tensor([*words, END])
        return cls(tokens, targets, torch.tensor(clips))

    def to(self, device: torch.device) -> Self:
        """Copy to a device."""
        return type(self)(self.tokens.to(device), self.targets.to(device), self.clip_of_row.to(device))


@dataclass(frozen=True)
class Batch(ABC):
    """Some clips with captions: the captions as rows, and what gives the decoder's memory of the clips."""

    groups: tuple[Rows, ...]

    @property
    def pairs(self) -> int:
        """Number of captions."""
        return sum(len(rows.tokens) for rows in self.groups)

    @property
    def targets(self) -> int:
        """Number of real target tokens."""
        return sum(int((rows.targets != PAD).sum()) for rows in self.groups)

    @abstractmethod
    def memory(self, model: CaptionModel) -> Memory:
        """Return what the decoder attends to, of every clip."""

    @abstractmethod
    def to(self, device: torch.device) -> Self:
        """Copy to a device."""


class Source(Protocol):
    """Where batches come from. The same arguments give the same batches: a run can go on from any epoch."""

    @property
    def pairs(self) -> int:
        """Number of captions in an epoch."""

    def training_batches(self, batch_pairs: int, seed: int, epoch: int) -> Iterator[Batch]:
        """Yield every pair once, in an order that seed and epoch decide, about `batch_pairs` at a time."""

    def validation_batches(self, batch_pairs: int) -> Iterator[Batch]:
        """Yield every pair once, in an order that is always the same."""


@dataclass(frozen=True)
class ClipBatch(Batch):
    """Clips and all their captions."""

    features: Tensor
    """float32 [clips, frames, width], zeros after a clip's end."""
    mask: Tensor | None
    """bool [clips, frames], True for real frames; None if no clip is padded."""

    def memory(self, model: CaptionModel) -> Memory:
        """Return the adapter's memory of the features, projected for the decoder."""
        return model.remember(self.features, self.mask)

    def to(self, device: torch.device) -> Self:
        """Copy to a device."""
        groups = tuple(rows.to(device) for rows in self.groups)
        mask = None if self.mask is None else self.mask.to(device)
        return type(self)(groups, self.features.to(device), mask)


class Clips(ABC):
    """One part of a dataset, a `Source`: clips, and the captions of each as word ids."""

    captions: Sequence[Sequence[list[int]]]
    """Per clip the captions, each a list of ids without START and END."""

    @abstractmethod
    def sizes(self) -> Iterable[int]:
        """Return how long each clip is, in any unit."""

    @abstractmethod
    def batch(self, clips: Sequence[int], groups: tuple[Rows, ...]) -> Batch:
        """Return a batch of some clips, by number, with their captions."""

    @cached_property
    def pairs(self) -> int:
        """Number of captions."""
        return sum(map(len, self.captions))

    @cached_property
    def lengths(self) -> list[tuple[int, int]]:
        """Size, and words of the longest caption, of every clip."""
        return [
            (size, max(len(caption) for caption in captions))
            for size, captions in zip(self.sizes(), self.captions, strict=True)
        ]

    def training_batches(self, batch_pairs: int, seed: int, epoch: int) -> Iterator[Batch]:
        """Yield every pair once, shuffled by seed and epoch.

        Args:
            batch_pairs: pairs of clip and caption per batch; exceeded by less than one clip's captions.
            seed: of the run.
            epoch: number of the epoch, so that each has an order of its own and resuming needs no stored
                state.
        """
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.captions), generator=generator).tolist()
        batches: list[list[int]] = []
        for pool in self._cut(order, batch_pairs * POOL):
            batches += self._cut(sorted(pool, key=self.lengths.__getitem__), batch_pairs)
        for index in torch.randperm(len(batches), generator=generator).tolist():
            yield self._batch(batches[index])

    def validation_batches(self, batch_pairs: int) -> Iterator[Batch]:
        """Yield every pair once, shortest clips first."""
        order = sorted(range(len(self.captions)), key=self.lengths.__getitem__)
        for clips in self._cut(order, batch_pairs):
            yield self._batch(clips)

    def _cut(self, order: Sequence[int], pairs: int) -> Iterator[list[int]]:
        """Cut an order of clips into the fewest runs of about as many captions, `pairs` or a few more."""
        counts = [len(self.captions[clip]) for clip in order]
        total = sum(counts)
        parts = -(-total // pairs)
        runs: list[list[int]] = [[] for _ in range(parts)]
        before = 0
        for clip, count in zip(order, counts, strict=True):
            runs[before * parts // total].append(clip)
            before += count
        yield from filter(None, runs)

    def _batch(self, clips: Sequence[int]) -> Batch:
        rows = sorted(
            ((caption, place) for place, clip in enumerate(clips) for caption in self.captions[clip]),
            key=lambda row: len(row[0]),
        )
        size = -(-len(rows) // GROUPS)
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        return self.batch(clips, tuple(Rows.of(*zip(*part, strict=True)) for part in parts))


@dataclass(frozen=True)
class Split(Clips):
    """Clips by what the encoder made of them.

    Args:
        features: per clip [frames, width], float32 or float16; mapped from the store, in training.
        captions: as `Clips.captions`.
    """

    features: Sequence[Tensor]
    captions: Sequence[Sequence[list[int]]]

    def __post_init__(self) -> None:
        if len(self.features) != len(self.captions):
            raise ValueError(f"{len(self.features)} clips have features, {len(self.captions)} have captions.")

    def sizes(self) -> Iterable[int]:
        """Return the frames of each clip."""
        return map(len, self.features)

    def batch(self, clips: Sequence[int], groups: tuple[Rows, ...]) -> ClipBatch:
        """Return the features of some clips, padded to one length."""
        return ClipBatch(groups, *pad([self.features[clip] for clip in clips]))


def pad(features: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Stack clips of [frames, width] to float32 [clips, longest, width]; with a mask if lengths differ."""
    frames = torch.tensor([len(clip) for clip in features])
    longest = int(frames.max())
    stacked = torch.nn.utils.rnn.pad_sequence(list(features), batch_first=True).float()
    if bool((frames == longest).all()):
        return stacked, None
    return stacked, torch.arange(longest) < frames[:, None]
