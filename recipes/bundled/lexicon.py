"""A learned lexicon: which sounds a caption's words speak of.

One logistic regression per AudioSet class over a caption's words and pairs of neighbouring words, fitted on
AudioCaps' training captions beside the labels that raters ticked.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from otoscribe.text.vocabulary import words_of

MINIMUM_COUNT = 8
"""Captions in which a word or pair must stand to be known."""
EPOCHS = 8
BATCH = 2048
LEARNING_RATE = 0.05
DECAY = 1e-8
"""Weight of the squared weights per caption, against rare words that stand beside a class by chance."""


def _grams(caption: str) -> set[str]:
    words = words_of(caption)
    return {*words, *(f"{first} {second}" for first, second in pairwise(words))}


@dataclass(frozen=True)
class Lexicon:
    """Fitted weights.

    Args:
        grams: row of every word and pair in `weight`.
        weight: float32 [grams, classes].
        bias: float32 [classes].
    """

    grams: dict[str, int]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def probabilities(self, text: str) -> NDArray[np.float32]:
        """Return for every class the probability that a rater would tick it, [classes]."""
        # In a fixed order, as sums of numbers with a fraction depend on it, and runs are known by the result.
        rows = sorted(self.grams[gram] for gram in _grams(text) if gram in self.grams)
        logits = self.weight[rows].sum(axis=0) + self.bias
        probabilities: NDArray[np.float32] = 1.0 / (1.0 + np.exp(-logits))
        return probabilities

    def save(self, path: Path) -> None:
        """Write a NumPy archive (without pickle)."""
        names = np.array(list(self.grams), dtype=np.str_)
        np.savez(path, grams=names, weight=self.weight, bias=self.bias)

    @classmethod
    def load(cls, path: Path) -> "Lexicon":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as archive:
            grams = {str(gram): row for row, gram in enumerate(archive["grams"])}
            return cls(grams, archive["weight"], archive["bias"])


def fit(captions: Sequence[str], targets: NDArray[np.float32], seed: int) -> Lexicon:
    """Fit the lexicon.

    Args:
        captions: training captions.
        targets: 1 where a rater ticked the class for the caption's clip, else 0, [captions, classes].
        seed: decides the order of the batches.
    """
    held = [_grams(caption) for caption in captions]
    counts = Counter(gram for grams in held for gram in grams)
    known = sorted(gram for gram, count in counts.items() if count >= MINIMUM_COUNT)
    index = {gram: row for row, gram in enumerate(known)}
    rows = [torch.tensor(sorted(index[gram] for gram in grams if gram in index)) for grams in held]
    labels = torch.from_numpy(targets)
    bag = nn.EmbeddingBag(len(index), labels.shape[1], mode="sum")
    nn.init.zeros_(bag.weight)
    rate = labels.mean(0).clamp(1e-5)
    bias = nn.Parameter((rate / (1.0 - rate)).log())
    optimiser = torch.optim.Adam([bag.weight, bias], lr=LEARNING_RATE)
    steps = EPOCHS * -(-len(captions) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1.0 - step / steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(captions), generator=generator).split(BATCH):  # type: ignore[no-untyped-call]
            loss = _loss(bag, bias, [rows[i] for i in batch.tolist()], labels[batch])
            loss = loss + DECAY * len(captions) / len(batch) * bag.weight.square().sum()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return Lexicon(index, bag.weight.detach().numpy(), bias.detach().numpy())


def _loss(bag: nn.EmbeddingBag, bias: Tensor, rows: list[Tensor], labels: Tensor) -> Tensor:
    lengths = torch.tensor([len(row) for row in rows])
    offsets = lengths.cumsum(0) - lengths
    logits = bag(torch.cat(rows).long(), offsets) + bias
    total = nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
    return total / len(rows)
