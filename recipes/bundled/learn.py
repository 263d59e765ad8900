"""Pairs of labels and captions for the trainer: there is no recording, so the memory comes from labels."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from otoscribe.model.adapters.label_set import LabelSet
from otoscribe.model.caption_model import CaptionModel
from otoscribe.text.vocabulary import Vocabulary
from otoscribe.train.batches import Batch, Memory, Rows
from recipes.bundled.examples import LONGEST, Example
from recipes.bundled.label_noise import CLEAN, LabelNoise, NoisyLabels

POOL = 4096
"""Examples that are sorted by length together before they are cut into batches."""


def memory_of(model: CaptionModel, labels: NoisyLabels) -> Memory:
    """Embed labels for the model's decoder."""
    assert isinstance(model.adapter, LabelSet)
    memory, mask = model.adapter.embed(*labels)
    return *model.decoder.memory_cache(memory), mask


@dataclass(frozen=True)
class LabelBatch(Batch):
    """Captions, one a clip, and the noisy labels of each clip."""

    labels: NoisyLabels

    def memory(self, model: CaptionModel) -> Memory:
        """Embed the labels."""
        return memory_of(model, self.labels)

    def to(self, device: torch.device) -> Self:
        """Copy to a device."""
        labels, strengths, times, styles = (part.to(device) for part in self.labels)
        groups = tuple(rows.to(device) for rows in self.groups)
        return type(self)(groups, (labels, strengths, times, styles))


class LabelledCaptions:
    """Examples with their captions as ids: a `Source` for the trainer.

    Args:
        examples: captions without a word, and those of more than LONGEST words, are left out.
        vocabulary: the words.
        noise: draws the noisy labels of an example, the same for the same seed, epoch and batch.
    """

    def __init__(self, examples: Sequence[Example], vocabulary: Vocabulary, noise: LabelNoise) -> None:
        ids = [vocabulary.encode(example.caption) for example in examples]
        kept = [index for index, words in enumerate(ids) if 0 < len(words) <= LONGEST]
        self.examples = [examples[index] for index in kept]
        self.ids = [ids[index] for index in kept]
        self.noise = noise

    @property
    def pairs(self) -> int:
        """Number of captions."""
        return len(self.ids)

    def training_batches(self, batch_pairs: int, seed: int, epoch: int) -> Iterator[LabelBatch]:
        """Yield every caption once: one corpus and captions of like length in each batch."""
        random = np.random.default_rng((seed, epoch))
        styles = np.array([example.style for example in self.examples])
        batches: list[list[int]] = []
        for style in np.unique(styles):
            order = random.permutation(np.flatnonzero(styles == style))
            for start in range(0, len(order), POOL):
                pool = sorted(order[start : start + POOL].tolist(), key=lambda i: len(self.ids[i]))
                batches += [pool[i : i + batch_pairs] for i in range(0, len(pool), batch_pairs)]
        for index in random.permutation(len(batches)):
            yield self._batch(batches[index], CLEAN, int(random.integers(2**62)))

    def validation_batches(self, batch_pairs: int) -> Iterator[LabelBatch]:
        """Yield every caption once, shortest first, all through the channel, the same draw each time."""
        order = sorted(range(len(self.ids)), key=lambda index: len(self.ids[index]))
        for start in range(0, len(order), batch_pairs):
            yield self._batch(order[start : start + batch_pairs], 0.0, start)

    def _batch(self, indices: Sequence[int], clean: float, seed: int) -> LabelBatch:
        rows = Rows.of([self.ids[index] for index in indices], range(len(indices)))
        return LabelBatch((rows,), self.noise([self.examples[index] for index in indices], clean, seed))


def fingerprint(*sources: LabelledCaptions) -> str:
    """Return a SHA-256 of all examples, and of which classes the noise confuses."""
    digest = hashlib.sha256()
    for source in sources:
        digest.update(repr((source.examples, source.ids)).encode())
        digest.update(source.noise.channel.similarity.numpy().tobytes())
    return digest.hexdigest()
