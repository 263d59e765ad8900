"""Learning the words half, labels → caption, by the cross-entropy of the captions that people wrote."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otoscribe.model.adapters.label_set import LabelSet
from otoscribe.model.caption_model import CaptionModel
from otoscribe.text.vocabulary import END, PAD, START, Vocabulary
from otoscribe.train.run import load_checkpoint, save_checkpoint
from recipes.bundled.examples import LONGEST, Example
from recipes.bundled.listener import CLEAN, Heard, Listener

POOL = 4096
"""Examples that are sorted by length together before they are cut into batches."""
STEPS_PER_CHECKPOINT = 500

Memory = tuple[Tensor, Tensor, Tensor | None]
"""Keys and values of the decoder's cross-attention, and the mask of real places."""


@dataclass(frozen=True)
class Learning:
    """Numbers of the cross-entropy stage."""

    steps: int = 2800
    batch: int = 128
    learning_rate: float = 2e-3
    warmup: int = 300
    smoothing: float = 0.05
    decay: float = 0.01
    clip: float = 1.0
    seed: int = 0


class Words:
    """Examples with their captions as ids.

    Args:
        examples: to learn from; captions of more than LONGEST words are left out.
        vocabulary: the words.
    """

    def __init__(self, examples: Sequence[Example], vocabulary: Vocabulary) -> None:
        ids = [vocabulary.encode(example.caption) for example in examples]
        kept = [index for index, words in enumerate(ids) if 0 < len(words) <= LONGEST]
        self.examples = [examples[index] for index in kept]
        self.ids = [ids[index] for index in kept]

    def batches(self, size: int, seed: int) -> Iterator[list[int]]:
        """Yield batches of indices without end: one corpus and captions of like length in each batch."""
        epoch = 0
        styles = np.array([example.style for example in self.examples])
        while True:
            random = np.random.default_rng((seed, epoch))
            batches: list[list[int]] = []
            for style in np.unique(styles):
                order = random.permutation(np.flatnonzero(styles == style))
                for start in range(0, len(order), POOL):
                    pool = sorted(order[start : start + POOL].tolist(), key=lambda i: len(self.ids[i]))
                    batches += [pool[i : i + size] for i in range(0, len(pool), size)]
            for index in random.permutation(len(batches)):
                yield batches[index]
            epoch += 1

    def tokens(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return inputs, START first, and targets, END last, of some captions, int64 [captions, time]."""
        return laid([self.ids[index] for index in indices])


def laid(captions: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Lay captions side by side: inputs, START first, and targets, END last, int64 [captions, time]."""
    time = max(len(words) for words in captions) + 1
    inputs = torch.full((len(captions), time), PAD)
    targets = torch.full((len(captions), time), PAD)
    for row, words in enumerate(captions):
        inputs[row, : len(words) + 1] = torch.tensor([START, *words])
        targets[row, : len(words) + 1] = torch.tensor([*words, END])
    return inputs, targets


def memory_of(model: CaptionModel, heard: Heard) -> Memory:
    """Embed what was heard, for the model's decoder."""
    assert isinstance(model.adapter, LabelSet)
    memory, mask = model.adapter.embed(*heard)
    return *model.decoder.memory_cache(memory), mask


def cross_entropy(
    model: CaptionModel,
    words: Words,
    indices: Sequence[int],
    listener: Listener,
    clean: float,
    seed: int,
    smoothing: float = 0.0,
) -> tuple[Tensor, int]:
    """Return the summed cross-entropy, in nats, of some captions, and their tokens."""
    inputs, targets = words.tokens(indices)
    heard = listener([words.examples[index] for index in indices], clean, seed)
    hidden = model.decoder(model.words(inputs), *memory_of(model, heard), torch.arange(len(indices)))
    real = targets != PAD
    logits = model.decoder.logits(hidden[real], model.words.weight)
    loss = F.cross_entropy(logits, targets[real], reduction="sum", label_smoothing=smoothing)
    return loss, int(real.sum())


def validation(model: CaptionModel, words: Words, listener: Listener, clean: float) -> float:
    """Return nats per token on held-out examples, the same draw each time."""
    model.eval()
    total, tokens = 0.0, 0
    order = sorted(range(len(words.ids)), key=lambda index: len(words.ids[index]))
    with torch.inference_mode():
        for start in range(0, len(order), 128):
            loss, count = cross_entropy(model, words, order[start : start + 128], listener, clean, start)
            total, tokens = total + float(loss), tokens + count
    model.train()
    return total / tokens


def learn(
    model: CaptionModel,
    words: Words,
    held_out: Words,
    listener: Listener,
    numbers: Learning,
    path: Path,
    log: Callable[[str], None],
) -> None:
    """Train by cross-entropy, from the checkpoint at `path` if there is one."""
    optimiser = torch.optim.AdamW(
        trained(model), lr=numbers.learning_rate, betas=(0.9, 0.98), weight_decay=numbers.decay
    )
    notes = load_checkpoint(path, model, optimiser)
    done = notes["step"] if notes else 0
    model.train()
    for step, indices in enumerate(words.batches(numbers.batch, numbers.seed)):
        if step < done:
            continue
        if step % STEPS_PER_CHECKPOINT == 0 or step == numbers.steps:
            clean, channel = (validation(model, held_out, listener, share) for share in (1.0, 0.0))
            log(f"learn {step}: held-out nats per word {clean:.3f} clean, {channel:.3f} through the channel")
            save_checkpoint(path, model, optimiser, {"step": step})
        if step == numbers.steps:
            break
        rate = min(1.0, (step + 1) / numbers.warmup) * (1.0 + math.cos(math.pi * step / numbers.steps)) / 2.0
        set_rate(optimiser, numbers.learning_rate * rate)
        torch.manual_seed(step)
        loss, tokens = cross_entropy(model, words, indices, listener, CLEAN, step, numbers.smoothing)
        descend(model, optimiser, loss / tokens, numbers.clip)


def trained(model: nn.Module) -> list[nn.Parameter]:
    """List the parameters that are trained."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def descend(model: nn.Module, optimiser: torch.optim.Optimizer, loss: Tensor, clip: float) -> None:
    """Take one step down the gradient, which is first cut to the norm `clip`."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(trained(model), clip)
    optimiser.step()
