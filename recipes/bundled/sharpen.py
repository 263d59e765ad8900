"""Sharpening the words half: raise the CIDEr-D of captions that the model itself samples.

They are measured against what people wrote of clips that sound the same (self-critical sequence training:
Rennie et al., CVPR 2017; with the mean of a clip's other samples as the baseline: Luo, "A better variant of
self-critical sequence training", 2020).
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from otoscribe.learn.model import CaptionModel, TorchStepper
from otoscribe.learn.run import load_checkpoint, save_checkpoint
from otoscribe.metrics.cider import CiderD
from otoscribe.search import Search, search
from otoscribe.vocabulary import END, PAD, START, UNKNOWN, Vocabulary, words_of
from recipes.bundled.examples import Example
from recipes.bundled.learn import Memory, Words, descend, laid, memory_of, set_rate, trained
from recipes.bundled.listener import CLEAN, Listener

ROWS = 64
"""Captions of like length whose gradient is computed together."""
STEPS_PER_CHECKPOINT = 100
STOP = "."
"""Stands for a caption's end where captions are scored."""


@dataclass(frozen=True)
class Sharpening:
    """Numbers of the self-critical stage."""

    steps: int = 500
    clips: int = 32
    samples: int = 5
    references: int = 5
    learning_rate: float = 2e-4
    warmup: int = 20
    cross_entropy: float = 0.1
    clip: float = 1.0
    longest: int = 18
    seed: int = 0


class Alike:
    """Clips of the first style, and what people wrote of those that sound the same.

    Args:
        words: the examples.
    """

    def __init__(self, words: Words) -> None:
        self.words = words
        self.indices = [index for index, example in enumerate(words.examples) if example.style == 0]
        self._groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for index in self.indices:
            self._groups[_likeness(words.examples[index])].append(index)

    def draw(self, numbers: Sharpening, step: int) -> tuple[list[int], list[list[list[str]]]]:
        """Return the indices of a step's clips, and the references of each, its own caption first."""
        random = np.random.default_rng((numbers.seed, step))
        chosen: list[int] = random.choice(self.indices, numbers.clips, replace=False).tolist()
        references = []
        for index in chosen:
            alike = self._groups[_likeness(self.words.examples[index])]
            others = [other for other in alike if other != index]
            random.shuffle(others)
            picked = [index, *others[: numbers.references - 1]]
            references.append([[*words_of(self.words.examples[i].caption), STOP] for i in picked])
        return chosen, references


def _likeness(example: Example) -> tuple[object, ...]:
    return example.labels, example.voices, tuple(sorted(example.times.items()))


def sharpen(
    model: CaptionModel,
    words: Words,
    vocabulary: Vocabulary,
    listener: Listener,
    numbers: Sharpening,
    path: Path,
    log: Callable[[str], None],
    report: Callable[[], str],
) -> None:
    """Train by self-critical sequence training, from the checkpoint at `path` if there is one.

    Args:
        model: what `learn` left.
        words: examples; only those of the first style are used.
        vocabulary: of the model.
        listener: the imperfect one.
        numbers: the settings.
        path: of the checkpoint.
        log: told of every checkpoint.
        report: called then for figures on held-out clips.
    """
    optimiser = torch.optim.AdamW(
        trained(model), lr=numbers.learning_rate, betas=(0.9, 0.98), weight_decay=0.0
    )
    notes = load_checkpoint(path, model, optimiser)
    done = notes["step"] if notes else 0
    alike = Alike(words)
    recent: list[float] = []
    model.eval()
    for step in range(done, numbers.steps + 1):
        if step % STEPS_PER_CHECKPOINT == 0:
            mean = sum(recent) / max(1, len(recent))
            log(f"sharpen {step}: CIDEr-D of samples {mean:.3f}; {report()}")
            save_checkpoint(path, model, optimiser, {"step": step})
            recent = []
        if step == numbers.steps:
            break
        chosen, references = alike.draw(numbers, step)
        heard = listener([words.examples[index] for index in chosen], CLEAN, step)
        with torch.no_grad():
            samples = sample(model, memory_of(model, heard), numbers, step)
        rewards = reward(samples, references, vocabulary, numbers)
        recent.append(float(rewards.mean()))
        rate = min(1.0, (step + 1) / numbers.warmup) * (1.0 - step / numbers.steps)
        set_rate(optimiser, numbers.learning_rate * rate)
        written = [words.ids[index] for index in chosen]
        loss = criticised(model, memory_of(model, heard), samples, rewards, written, numbers)
        descend(model, optimiser, loss, numbers.clip)


def sample(model: CaptionModel, memory: Memory, numbers: Sharpening, seed: int) -> list[list[int]]:
    """Draw captions from the model, `samples` per clip, as ids without START and END."""
    generator = torch.Generator().manual_seed(seed)
    memory_keys, memory_values, mask = memory
    assert mask is not None
    blocks, clips, _, heads, head_dim = memory_keys.shape
    keys = memory_keys.new_zeros(blocks, clips, numbers.samples, heads, 0, head_dim)
    values = keys
    tokens = torch.full((clips, numbers.samples), START)
    drawn = []
    ended = torch.zeros_like(tokens, dtype=torch.bool)
    for _ in range(numbers.longest):
        scores, keys, values = model.step(tokens, keys, values, memory_keys, memory_values, mask)
        scores[..., [PAD, START, UNKNOWN]] = -torch.inf
        # Where a random number falls among the summed probabilities: much faster than torch.multinomial.
        summed = scores.exp().cumsum(-1)
        drawn_at = torch.rand(*tokens.shape, 1, generator=generator) * summed[..., -1:]
        tokens = torch.searchsorted(summed, drawn_at, right=True)[..., 0]
        tokens = torch.where(ended, END, tokens)
        drawn.append(tokens)
        ended |= tokens == END
        if ended.all():
            break
    rows = torch.stack(drawn, dim=-1).flatten(0, 1).tolist()
    return [row[: row.index(END)] if END in row else row for row in rows]


def reward(
    samples: Sequence[Sequence[int]],
    references: Sequence[Sequence[Sequence[str]]],
    vocabulary: Vocabulary,
    numbers: Sharpening,
) -> Tensor:
    """Return the CIDEr-D of every sample, float32 [clips * samples].

    Each step's clips are an evaluated set of their own, so that a word's rarity means what it will mean when
    some dozens or hundreds of clips are scored. A caption's end counts as a word, or captions would learn to
    stop in the middle of a sentence.
    """
    # A caption that was cut off never said its end.
    texts = [[vocabulary.words[i] for i in row] + [STOP] * (len(row) < numbers.longest) for row in samples]
    clip_of_row = np.repeat(np.arange(numbers.clips), numbers.samples)
    return torch.from_numpy(CiderD(references).score_against(clip_of_row, texts)).float()


def criticised(
    model: CaptionModel,
    memory: Memory,
    samples: Sequence[Sequence[int]],
    rewards: Tensor,
    written: Sequence[Sequence[int]],
    numbers: Sharpening,
) -> Tensor:
    """Return the loss, in nats per sampled word: samples better than a clip's others become more probable.

    Args:
        model: the model.
        memory: of the step's clips.
        samples: captions that the model drew, `numbers.samples` per clip.
        rewards: of the samples.
        written: what a person wrote of each clip. It is raised as well, a little, which keeps the sentences
            whole.
        numbers: the settings.
    """
    grouped = rewards.view(numbers.clips, numbers.samples)
    others_mean = (grouped.sum(1, keepdim=True) - grouped) / (numbers.samples - 1)
    advantage = (grouped - others_mean).flatten()
    share = torch.full((numbers.clips,), numbers.cross_entropy * numbers.samples)
    clips = np.arange(numbers.clips)
    clip_of_row = np.concatenate([np.repeat(clips, numbers.samples), clips])
    total = _weighted(model, memory, [*samples, *written], clip_of_row, torch.cat([advantage, share]))
    return total / sum(len(row) + 1 for row in samples)


def _weighted(
    model: CaptionModel,
    memory: Memory,
    captions: Sequence[Sequence[int]],
    clip_of_row: NDArray[np.int64],
    weights: Tensor,
) -> Tensor:
    """Return the sum of captions' cross-entropies, each with its weight; like lengths go together."""
    order = sorted(range(len(captions)), key=lambda row: len(captions[row]))
    total = torch.zeros(())
    for start in range(0, len(order), ROWS):
        rows = order[start : start + ROWS]
        inputs, targets = laid([captions[row] for row in rows])
        real = targets != PAD
        hidden = model.decoder(model.words(inputs), *memory, torch.from_numpy(clip_of_row[rows]))
        logits = model.decoder.logits(hidden[real], model.words.weight)
        negative = F.cross_entropy(logits, targets[real], reduction="none")
        total = total + (negative * weights[rows][:, None].expand_as(targets)[real]).sum()
    return total


def held_out_score(
    model: CaptionModel, words: Words, vocabulary: Vocabulary, listener: Listener, settings: Search
) -> str:
    """Return the CIDEr-D on held-out clips, given their labels as they are and through the channel."""
    clips: dict[int, list[int]] = defaultdict(list)
    for index, example in enumerate(words.examples):
        clips[example.clip].append(index)
    references = CiderD([[words_of(words.examples[i].caption) for i in held] for held in clips.values()])
    chosen = [words.examples[held[0]] for held in clips.values()]
    scores = []
    for clean in (1.0, 0.0):
        with torch.inference_mode():
            memory = memory_of(model, listener(chosen, clean, 0))
        found = search(TorchStepper(model, *memory), settings)
        scores.append(references.score([vocabulary.decode(best[0].tokens).split() for best in found])[0])
    return f"held-out CIDEr-D {scores[0]:.3f} clean, {scores[1]:.3f} through the channel"
