"""An imperfect listener: what the adapter would be given to embed of a clip that nobody can hear.

Labels go through the channel; voices and the order in time, which the channel knows nothing of, are known,
unknown or wrong by chance.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from otoscribe.model.adapters.label_set import (
    ANY_TIME,
    CLASSES,
    FEMALE_VOICE,
    MALE_VOICE,
    NOTHING,
    PLACES,
    SPEECH,
    LabelSet,
)
from recipes.bundled.channel import Channel
from recipes.bundled.examples import Example

NoisyLabels = tuple[Tensor, Tensor, Tensor, Tensor]
"""Labels, strengths and times [examples, places] and styles [examples], all int64."""

CLEAN = 0.25
"""Share of the examples whose labels are given as they are."""
CLEAN_MEAN, CLEAN_SPREAD = 3.5, 1.5
"""Evidence of those examples' labels, in nats."""
TOLD_TIME, TOLD_VOICE, WRONG_VOICE, UNSAID_VOICE = 0.6, 0.65, 0.05, 0.4
"""Chances: the order is known where the caption gives one; the voices are known where it names them; they are
known, but wrong; a voice is known although the caption speaks of nobody's."""
MALE_SHARE = 0.66
"""Share of male voices among the voices that captions name."""
RANDOM_TIME = 0.05
"""Chance of an order that the caption does not tell."""


class LabelNoise:
    """Turns examples into what the adapter embeds, as an imperfect listener would.

    Args:
        adapter: with its label sets fitted.
        channel: draws the evidence.
    """

    def __init__(self, adapter: LabelSet, channel: Channel) -> None:
        self.adapter = adapter
        self.channel = channel

    def __call__(self, examples: Sequence[Example], clean: float, seed: int) -> NoisyLabels:
        """Return what is heard of some examples.

        Args:
            examples: the clips.
            clean: share of the examples whose labels are given as they are.
            seed: decides every draw.
        """
        random = np.random.default_rng(seed)
        generator = torch.Generator().manual_seed(seed)
        held = [_held(example, random) for example in examples]
        with torch.no_grad():
            evidence = self.channel.evidence(held, generator)
            guessed = self.adapter.most_probable_set(evidence)
        labels = np.full((len(examples), PLACES + 2), NOTHING)
        times = np.full_like(labels, ANY_TIME)
        for row, (example, true) in enumerate(zip(examples, held, strict=True)):
            if random.random() < clean:
                labels[row, : len(true[:PLACES])] = true[:PLACES]
                real = torch.from_numpy(random.normal(CLEAN_MEAN, CLEAN_SPREAD, len(true))).float()
                evidence[row, list(true)] = torch.maximum(evidence[row, list(true)], real)
            else:
                labels[row, :PLACES] = guessed[row]
            times[row] = _times(example, labels[row], random)
            voices = _voices(example, SPEECH in true or SPEECH in labels[row], random)
            free = int((labels[row] != NOTHING).sum())
            labels[row, free : free + len(voices)] = voices
        width = int((labels != NOTHING).sum(1).max())
        chosen = torch.from_numpy(labels[:, : max(width, 1)])
        strengths = self.adapter.strength(evidence.gather(1, chosen.clamp(max=CLASSES - 1)))
        strengths = torch.where(chosen < CLASSES, strengths, 0)
        styles = torch.tensor([example.style for example in examples])
        return chosen, strengths, torch.from_numpy(times[:, : chosen.shape[1]]), styles


def _held(example: Example, random: np.random.Generator) -> tuple[int, ...]:
    if example.style == 0:
        return example.labels
    # Nobody labelled the clip: what its caption may speak of is drawn anew each time.
    return tuple(label for label, p in sorted(example.probabilities.items()) if random.random() < p)


def _times(example: Example, labels: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    if example.times and random.random() < TOLD_TIME:
        return np.array([example.times.get(int(label), ANY_TIME) for label in labels])
    if random.random() < RANDOM_TIME:
        return np.where(labels < CLASSES, random.integers(0, 3, labels.size), ANY_TIME)
    return np.full_like(labels, ANY_TIME)


def _voices(example: Example, speech: bool, random: np.random.Generator) -> list[int]:
    drawn = random.random()
    if example.voices:
        if drawn < TOLD_VOICE:
            return list(example.voices)
        if drawn < TOLD_VOICE + WRONG_VOICE:
            return [FEMALE_VOICE if example.voices[0] == MALE_VOICE else MALE_VOICE]
        return []
    if speech and drawn < UNSAID_VOICE:
        return [MALE_VOICE if random.random() < MALE_SHARE else FEMALE_VOICE]
    return []
