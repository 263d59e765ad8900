"""Scenes for the trainer: there is no recording, so the memory comes from simulated evidence."""

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from otoscribe.model.adapters.evidence import Evidence, EvidenceMemory
from otoscribe.model.caption_model import CaptionModel
from otoscribe.text.vocabulary import Vocabulary
from otoscribe.train.batches import Batch, Memory, Rows
from recipes.bundled.channel import Channel
from recipes.bundled.composed import Composer
from recipes.bundled.examples import BRIEF, LONGEST, Example
from recipes.bundled.scene import Scene
from recipes.bundled.written import scene_of

POOL = 4096
"""Scenes that are sorted by length together before they are cut into batches."""


@dataclass(frozen=True)
class Mix:
    """How many captions of each kind an epoch has."""

    brief: int
    """Of AudioCaps."""
    detailed: int
    """Of Clotho."""
    composed: int
    """Of the phrase book."""


def memory_of(model: CaptionModel, evidence: Evidence, styles: Tensor) -> Memory:
    """Embed evidence for the model's decoder."""
    assert isinstance(model.adapter, EvidenceMemory)
    with torch.no_grad():
        sounds, residues = model.adapter.select(evidence.strength)
    memory, mask = model.adapter.embed(evidence, sounds, residues, styles)
    return *model.decoder.memory_cache(memory), mask


@dataclass(frozen=True)
class SceneBatch(Batch):
    """Captions, one a scene, and what is heard of each scene."""

    evidence: Evidence
    styles: Tensor
    """int64 [scenes]."""
    buffers: Mapping[str, Tensor]
    """What was measured, by the names of the adapter's buffers."""

    def memory(self, model: CaptionModel) -> Memory:
        """Select and embed what is heard."""
        # The trainer makes a new adapter, which does not know what was measured.
        for name, value in self.buffers.items():
            model.adapter.get_buffer(name).copy_(value)
        return memory_of(model, self.evidence, self.styles)

    def to(self, device: torch.device) -> Self:
        """Copy to a device."""
        evidence = Evidence(*(part.to(device) for part in self.evidence))
        return type(self)(self.rows.to(device), evidence, self.styles.to(device), self.buffers)


class Scenes:
    """Written and composed captions with simulated evidence: a `Source` for the trainer.

    Args:
        examples: captions that people wrote; those without a word, and those of more than LONGEST words,
            are left out, and those that tell an order which nothing in the evidence could show.
        composer: composes captions.
        mix: how many of each kind an epoch has.
        vocabulary: the words.
        channel: draws the evidence, the same for the same seed, epoch and batch.
        buffers: of the adapter, by name.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        composer: Composer,
        mix: Mix,
        vocabulary: Vocabulary,
        channel: Channel,
        buffers: Mapping[str, Tensor],
    ) -> None:
        kept = [example for example in examples if 0 < len(vocabulary.encode(example.caption)) <= LONGEST]
        self.examples = [example for example in kept if example.times or not example.ordered]
        self.composer, self.mix, self.vocabulary = composer, mix, vocabulary
        self.channel, self.buffers = channel, buffers

    @property
    def pairs(self) -> int:
        """Number of captions in an epoch."""
        return self.mix.brief + self.mix.detailed + self.mix.composed

    def training_batches(self, batch_pairs: int, seed: int, epoch: int) -> Iterator[SceneBatch]:
        """Yield an epoch's captions, those of like length in a batch."""
        draw = random.Random(f"{seed} {epoch}")
        numbers = np.random.default_rng((seed, epoch))
        drawn = [
            *(scene_of(example, draw) for example in self._some(BRIEF, self.mix.brief, epoch, seed)),
            *(scene_of(example, draw) for example in self._some(1 - BRIEF, self.mix.detailed, epoch, seed)),
            *(self.composer.draw(draw) for _ in range(self.mix.composed)),
        ]
        draw.shuffle(drawn)
        batches: list[list[Scene]] = []
        for start in range(0, len(drawn), POOL):
            pool = sorted(drawn[start : start + POOL], key=lambda scene: len(scene.caption.split()))
            batches += [pool[i : i + batch_pairs] for i in range(0, len(pool), batch_pairs)]
        for index in numbers.permutation(len(batches)):
            yield self._batch(batches[index], int(numbers.integers(2**62)))

    def validation_batches(self, batch_pairs: int) -> Iterator[SceneBatch]:
        """Yield every caption that people wrote once, shortest first, the same draw each time.

        Where people wrote none, an epoch's composed captions take their place.
        """
        draw = random.Random(0)
        scenes = [scene_of(example, draw) for example in self.examples]
        scenes = scenes or [self.composer.draw(draw) for _ in range(self.mix.composed)]
        scenes.sort(key=lambda scene: len(scene.caption.split()))
        for start in range(0, len(scenes), batch_pairs):
            yield self._batch(scenes[start : start + batch_pairs], start)

    def _some(self, style: int, count: int, epoch: int, seed: int) -> Iterator[Example]:
        """Yield `count` examples of a style from where the epoch before ended, in an order of the seed."""
        of_style = [example for example in self.examples if example.style == style]
        if not of_style:
            return
        first = (epoch - 1) * count
        for turn in range(first, first + count):
            round_, place = divmod(turn, len(of_style))
            if turn == first or place == 0:
                order = np.random.default_rng((seed, style, round_)).permutation(len(of_style))
            yield of_style[order[place]]

    def _batch(self, scenes: Sequence[Scene], seed: int) -> SceneBatch:
        captions = [self.vocabulary.encode(scene.caption) for scene in scenes]
        rows = Rows.of(captions, range(len(scenes)))
        styles = torch.tensor([scene.style for scene in scenes])
        return SceneBatch(rows, self.channel(scenes, seed), styles, self.buffers)


def fingerprint(*sources: Scenes) -> str:
    """Return a SHA-256 of what decides the batches: captions, mix, and what was measured."""
    digest = hashlib.sha256()
    for source in sources:
        digest.update(repr((source.examples, source.mix)).encode())
        for part in (source.channel.root, source.composer.weight, *source.buffers.values()):
            digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
