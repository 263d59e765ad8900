"""Batches of pairs of clip and caption that leave out what need not be computed.

A clip is in a batch once, with all its captions, so that adapter and memory projections run once for all
of them. Clips of like length share a batch, captions of like length share a group of rows, and the
classifier runs on real tokens only.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from otoscribe.text.vocabulary import END, PAD, START

POOL = 8
"""Batches shuffled together before they are cut by length: more save padding, fewer mix better."""

GROUPS = 4
"""Groups of rows per batch: more save padding, fewer make larger matrices."""


@dataclass(frozen=True)
class Split:
    """One part of a dataset: the encoder's output for each clip, and its captions as word ids.

    Args:
        features: per clip float32 [frames, width]; may be a sequence that loads on demand.
        captions: per clip the captions, each a list of ids without START and END.
    """

    features: Sequence[Tensor]
    captions: Sequence[Sequence[list[int]]]

    def __post_init__(self) -> None:
        if len(self.features) != len(self.captions):
            raise ValueError(f"{len(self.features)} clips have features, {len(self.captions)} have captions.")

    @cached_property
    def lengths(self) -> list[tuple[int, int]]:
        """Frames, and words of the longest caption, of every clip."""
        return [
            (len(features), max(len(caption) for caption in captions))
            for features, captions in zip(self.features, self.captions, strict=True)
        ]

    def fingerprint(self) -> str:
        """Return a SHA-256 of all features and captions: a run resumes on the same data only."""
        digest = hashlib.sha256()
        for features, captions in zip(self.features, self.captions, strict=True):
            digest.update(f"{tuple(features.shape)} {list(captions)}".encode())
            digest.update(features.contiguous().numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Rows:
    """Captions of like length."""

    tokens: Tensor
    """int64 [rows, time], START, then words; PAD after a caption's end."""
    targets: Tensor
    """int64 [rows, time], the words, then END; PAD after it."""
    clip_of_row: Tensor
    """int64 [rows], index into the batch's clips."""

    def to(self, device: torch.device) -> "Rows":
        """Copy to a device."""
        return Rows(self.tokens.to(device), self.targets.to(device), self.clip_of_row.to(device))


@dataclass(frozen=True)
class Batch:
    """Clips and all their captions."""

    features: Tensor
    """float32 [clips, frames, width], zeros after a clip's end."""
    mask: Tensor | None
    """bool [clips, frames], True for real frames; None if no clip is padded."""
    groups: tuple[Rows, ...]
    targets: int
    """Number of real target tokens in all groups."""

    def to(self, device: torch.device) -> "Batch":
        """Copy to a device."""
        mask = None if self.mask is None else self.mask.to(device)
        groups = tuple(rows.to(device) for rows in self.groups)
        return Batch(self.features.to(device), mask, groups, self.targets)


def pad(features: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Stack clips of [frames, width] to [clips, longest, width], with their mask if lengths differ."""
    frames = torch.tensor([len(clip) for clip in features])
    longest = int(frames.max())
    stacked = torch.nn.utils.rnn.pad_sequence(list(features), batch_first=True)
    if bool((frames == longest).all()):
        return stacked, None
    return stacked, torch.arange(longest) < frames[:, None]


def training_batches(split: Split, pairs: int, seed: int, epoch: int) -> Iterator[Batch]:
    """Yield every pair of the split once, shuffled by seed and epoch.

    Args:
        split: the clips.
        pairs: pairs of clip and caption per batch; exceeded by less than one clip's captions.
        seed: of the run.
        epoch: number of the epoch, so that each has an order of its own and resuming needs no stored state.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(len(split.features), generator=generator).tolist()
    batches: list[list[int]] = []
    for pool in _cut(split, order, pairs * POOL):
        batches += _cut(split, sorted(pool, key=split.lengths.__getitem__), pairs)
    for index in torch.randperm(len(batches), generator=generator).tolist():
        yield _batch(split, batches[index])


def validation_batches(split: Split, pairs: int) -> Iterator[Batch]:
    """Yield every pair of the split once, shortest clips first."""
    order = sorted(range(len(split.features)), key=split.lengths.__getitem__)
    for clips in _cut(split, order, pairs):
        yield _batch(split, clips)


def _cut(split: Split, order: Sequence[int], pairs: int) -> Iterator[list[int]]:
    """Cut an order of clips into the fewest runs of about equally many captions, `pairs` or a few more."""
    counts = [len(split.captions[clip]) for clip in order]
    total = sum(counts)
    parts = -(-total // pairs)
    runs: list[list[int]] = [[] for _ in range(parts)]
    before = 0
    for clip, count in zip(order, counts, strict=True):
        runs[before * parts // total].append(clip)
        before += count
    yield from filter(None, runs)


def _batch(split: Split, clips: Sequence[int]) -> Batch:
    features, mask = pad([split.features[clip] for clip in clips])
    rows = sorted(
        ((caption, place) for place, clip in enumerate(clips) for caption in split.captions[clip]),
        key=lambda row: len(row[0]),
    )
    size = -(-len(rows) // GROUPS)
    groups = tuple(_rows(rows[start : start + size]) for start in range(0, len(rows), size))
    return Batch(features, mask, groups, sum(len(caption) + 1 for caption, _ in rows))


def _rows(rows: Sequence[tuple[list[int], int]]) -> Rows:
    time = max(len(caption) for caption, _ in rows) + 1
    tokens = torch.full((len(rows), time), PAD)
    targets = torch.full((len(rows), time), PAD)
    for row, (caption, _) in enumerate(rows):
        tokens[row, : len(caption) + 1] = torch.tensor([START, *caption])
        targets[row, : len(caption) + 1] = torch.tensor([*caption, END])
    return Rows(tokens, targets, torch.tensor([place for _, place in rows]))
