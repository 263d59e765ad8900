"""The words half: labels → caption, learned from examples whose labels went through the channel.

Two stages. `learn` minimises the cross-entropy of the captions that people wrote. `sharpen` then raises the
CIDEr-D of captions that the model itself samples, measured against what people wrote of clips that sound
the same (self-critical sequence training: Rennie et al., CVPR 2017; with the mean of a clip's other samples
as the baseline: Luo, "A better variant of self-critical sequence training", 2020).
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from otoscribe.learn.adapters.label_set import (
    ANY_TIME,
    CLASSES,
    FEMALE_VOICE,
    MALE_VOICE,
    NOTHING,
    PLACES,
    SPEECH,
    LabelSet,
)
from otoscribe.learn.model import CaptionModel, TorchStepper
from otoscribe.metrics.cider import CiderD
from otoscribe.search import Search, search
from otoscribe.vocabulary import END, PAD, START, UNKNOWN, Vocabulary, words_of
from recipes.bundled import checkpoint
from recipes.bundled.channel import Channel
from recipes.bundled.examples import LONGEST, Example

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

ROWS = 64
"""Captions of like length whose gradient is computed together."""
POOL = 4096
"""Examples that are sorted by length together before they are cut into batches."""


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


class Hearing:
    """Turns examples into what the adapter embeds, as an imperfect listener would.

    Args:
        adapter: with its label sets fitted.
        channel: draws the evidence.
    """

    def __init__(self, adapter: LabelSet, channel: Channel) -> None:
        self.adapter = adapter
        self.channel = channel

    def __call__(
        self, examples: Sequence[Example], clean: float, seed: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return labels, strengths and times [examples, places] and styles [examples], all int64."""
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
        return _laid([self.ids[index] for index in indices])


def _laid(captions: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    time = max(len(words) for words in captions) + 1
    inputs = torch.full((len(captions), time), PAD)
    targets = torch.full((len(captions), time), PAD)
    for row, words in enumerate(captions):
        inputs[row, : len(words) + 1] = torch.tensor([START, *words])
        targets[row, : len(words) + 1] = torch.tensor([*words, END])
    return inputs, targets


def _scores(
    model: CaptionModel, memory: tuple[Tensor, Tensor, Tensor | None], clip_of_row: Tensor, inputs: Tensor
) -> Tensor:
    """Return the logits of the next word at every place, [rows, time, vocabulary]."""
    hidden = model.decoder(model.words(inputs), *memory, clip_of_row)
    return model.decoder.logits(hidden, model.words.weight)


def _memory(
    model: CaptionModel, heard: tuple[Tensor, Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor | None]:
    assert isinstance(model.adapter, LabelSet)
    memory, mask = model.adapter.embed(*heard)
    return *model.decoder.memory_cache(memory), mask


def cross_entropy(
    model: CaptionModel,
    words: Words,
    indices: Sequence[int],
    hearing: Hearing,
    clean: float,
    seed: int,
    smoothing: float = 0.0,
) -> tuple[Tensor, int]:
    """Return the summed cross-entropy, in nats, of some captions, and their tokens."""
    inputs, targets = words.tokens(indices)
    heard = hearing([words.examples[index] for index in indices], clean, seed)
    hidden = model.decoder(model.words(inputs), *_memory(model, heard), torch.arange(len(indices)))
    real = targets != PAD
    logits = model.decoder.logits(hidden[real], model.words.weight)
    loss = F.cross_entropy(logits, targets[real], reduction="sum", label_smoothing=smoothing)
    return loss, int(real.sum())


def validation(model: CaptionModel, words: Words, hearing: Hearing, clean: float) -> float:
    """Return nats per token on held-out examples, the same draw each time."""
    model.eval()
    total, tokens = 0.0, 0
    order = sorted(range(len(words.ids)), key=lambda index: len(words.ids[index]))
    with torch.inference_mode():
        for start in range(0, len(order), 128):
            loss, count = cross_entropy(model, words, order[start : start + 128], hearing, clean, start)
            total, tokens = total + float(loss), tokens + count
    model.train()
    return total / tokens


def held_out_score(
    model: CaptionModel, words: Words, vocabulary: Vocabulary, hearing: Hearing, settings: Search
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
            memory = _memory(model, hearing(chosen, clean, 0))
        found = search(TorchStepper(model, *memory), settings)
        scores.append(references.score([vocabulary.decode(best[0].tokens).split() for best in found])[0])
    return f"held-out CIDEr-D {scores[0]:.3f} clean, {scores[1]:.3f} through the channel"


def learn(
    model: CaptionModel,
    words: Words,
    held_out: Words,
    hearing: Hearing,
    numbers: Learning,
    path: Path,
    log: Callable[[str], None],
) -> None:
    """Train by cross-entropy, from the checkpoint at `path` if there is one."""
    optimiser = torch.optim.AdamW(
        _trained(model), lr=numbers.learning_rate, betas=(0.9, 0.98), weight_decay=numbers.decay
    )
    done = checkpoint.resume(path, model, optimiser)
    model.train()
    for step, indices in enumerate(words.batches(numbers.batch, numbers.seed)):
        if step < done:
            continue
        if step % 500 == 0 or step == numbers.steps:
            clean, channel = (validation(model, held_out, hearing, share) for share in (1.0, 0.0))
            log(f"learn {step}: held-out nats per word {clean:.3f} clean, {channel:.3f} through the channel")
            checkpoint.save(path, model, optimiser, step)
        if step == numbers.steps:
            break
        rate = min(1.0, (step + 1) / numbers.warmup) * (1.0 + math.cos(math.pi * step / numbers.steps)) / 2.0
        _set_rate(optimiser, numbers.learning_rate * rate)
        torch.manual_seed(step)
        loss, tokens = cross_entropy(model, words, indices, hearing, CLEAN, step, numbers.smoothing)
        _step(model, optimiser, loss / tokens, numbers.clip)


def sharpen(
    model: CaptionModel,
    words: Words,
    vocabulary: Vocabulary,
    hearing: Hearing,
    numbers: Sharpening,
    path: Path,
    log: Callable[[str], None],
    report: Callable[[], str],
) -> None:
    """Train by self-critical sequence training, from the checkpoint at `path` if there is one.

    Each step's clips are an evaluated set of their own, so that a word's rarity means what it will mean when
    some dozens or hundreds of clips are scored. A caption's end counts as a word, or captions would learn to
    stop in the middle of a sentence.

    Args:
        model: what `learn` left.
        words: examples; only those of the first style are used.
        vocabulary: of the model.
        hearing: the imperfect listener.
        numbers: the settings.
        path: of the checkpoint.
        log: told of every 100th step.
        report: called then for figures on held-out clips.
    """
    optimiser = torch.optim.AdamW(
        _trained(model), lr=numbers.learning_rate, betas=(0.9, 0.98), weight_decay=0.0
    )
    done = checkpoint.resume(path, model, optimiser)
    first = [index for index, example in enumerate(words.examples) if example.style == 0]
    alike = defaultdict(list)
    for index in first:
        alike[_likeness(words.examples[index])].append(index)
    recent: list[float] = []
    model.eval()
    for step in range(done, numbers.steps + 1):
        if step % 100 == 0:
            mean = sum(recent) / max(1, len(recent))
            log(f"sharpen {step}: CIDEr-D of samples {mean:.3f}; {report()}")
            checkpoint.save(path, model, optimiser, step)
            recent = []
        if step == numbers.steps:
            break
        random = np.random.default_rng((numbers.seed, step))
        chosen = random.choice(first, numbers.clips, replace=False).tolist()
        references = []
        for index in chosen:
            others = [other for other in alike[_likeness(words.examples[index])] if other != index]
            random.shuffle(others)
            picked = [index, *others[: numbers.references - 1]]
            references.append([[*words_of(words.examples[i].caption), "."] for i in picked])
        heard = hearing([words.examples[index] for index in chosen], CLEAN, step)
        with torch.no_grad():
            samples = _sample(model, _memory(model, heard), numbers, step)
        # A caption that was cut off never said its end.
        texts = [[vocabulary.words[i] for i in row] + ["."] * (len(row) < numbers.longest) for row in samples]
        clip_of_row = np.repeat(np.arange(numbers.clips), numbers.samples)
        reward = torch.from_numpy(CiderD(references).score_against(clip_of_row, texts)).float()
        recent.append(float(reward.mean()))
        grouped = reward.view(numbers.clips, numbers.samples)
        others_mean = (grouped.sum(1, keepdim=True) - grouped) / (numbers.samples - 1)
        advantage = (grouped - others_mean).flatten()
        rate = min(1.0, (step + 1) / numbers.warmup) * (1.0 - step / numbers.steps)
        _set_rate(optimiser, numbers.learning_rate * rate)
        memory = _memory(model, heard)
        rows = [*samples, *(words.ids[index] for index in chosen)]
        clip_of_row = np.concatenate([clip_of_row, np.arange(numbers.clips)])
        # What people wrote is raised as well, a little, which keeps the sentences whole.
        share = torch.full((numbers.clips,), numbers.cross_entropy * numbers.samples)
        weights = torch.cat([advantage, share])
        tokens = sum(len(row) + 1 for row in samples)
        _step(model, optimiser, _weighted(model, memory, rows, clip_of_row, weights) / tokens, numbers.clip)


def _weighted(
    model: CaptionModel,
    memory: tuple[Tensor, Tensor, Tensor | None],
    captions: Sequence[Sequence[int]],
    clip_of_row: NDArray[np.int64],
    weights: Tensor,
) -> Tensor:
    """Return the sum of captions' cross-entropies, each with its weight; like lengths go together."""
    order = sorted(range(len(captions)), key=lambda row: len(captions[row]))
    total = torch.zeros(())
    for start in range(0, len(order), ROWS):
        rows = order[start : start + ROWS]
        inputs, targets = _laid([captions[row] for row in rows])
        real = targets != PAD
        hidden = model.decoder(model.words(inputs), *memory, torch.from_numpy(clip_of_row[rows]))
        logits = model.decoder.logits(hidden[real], model.words.weight)
        negative = F.cross_entropy(logits, targets[real], reduction="none")
        total = total + (negative * weights[rows][:, None].expand_as(targets)[real]).sum()
    return total


def _likeness(example: Example) -> tuple[object, ...]:
    return example.labels, example.voices, tuple(sorted(example.times.items()))


def _sample(
    model: CaptionModel, memory: tuple[Tensor, Tensor, Tensor | None], numbers: Sharpening, seed: int
) -> list[list[int]]:
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


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate


def _step(model: nn.Module, optimiser: torch.optim.Optimizer, loss: Tensor, clip: float) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(_trained(model), clip)
    optimiser.step()
