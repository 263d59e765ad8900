"""How good the captions are, on the validation recordings, beside captions that need no captioner."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from otoscribe.metrics.cider import CiderD
from otoscribe.model.adapters.label_set import CLASSES, LIMIT, LabelSet
from otoscribe.model.caption_model import CaptionModel
from otoscribe.model.torch_stepper import TorchStepper
from otoscribe.search.beam import search
from otoscribe.search.options import Search
from otoscribe.text.vocabulary import Vocabulary, words_of
from recipes.bundled.corpus import Pair
from recipes.bundled.examples import Example
from recipes.bundled.learn import LabelledCaptions, memory_of
from recipes.bundled.lexicon import Lexicon

NEAREST = 30
"""Captions among which a retrieval baseline picks."""
BACKGROUND = 2000
"""Training captions that decide how rare a word is, where those captions are compared."""
SET = 64
"""Held-out clips that are scored together: the score of a set depends on how large it is."""
DRAWS = 2000
"""Bootstrap samples of the clips."""


def scorer(pairs: Sequence[Pair]) -> CiderD:
    """Index the references of the recordings."""
    return CiderD([[words_of(caption) for caption in pair.captions] for pair in pairs])


def spread(scores: NDArray[np.float64]) -> float:
    """Return the bootstrap standard deviation of the mean over clips."""
    random = np.random.default_rng(0)
    return float(scores[random.integers(0, scores.size, (DRAWS, scores.size))].mean(1).std())


def captions(
    model: CaptionModel, vocabulary: Vocabulary, features: Sequence[Tensor], settings: Search
) -> list[str]:
    """Caption clips whose encoder output [frames, width] is known."""
    texts = []
    for clip in features:
        with torch.inference_mode():
            memory = model.remember(clip[None], None)
        best = search(TorchStepper(model, *memory), settings)[0][0]
        texts.append(vocabulary.decode(best.tokens))
    return texts


def held_out_scores(
    model: CaptionModel, held_out: LabelledCaptions, vocabulary: Vocabulary, settings: Search
) -> tuple[float, float]:
    """Return CIDEr-D on held-out clips without audio: with their labels as they are, and through the channel.

    It is the mean over sets of SET clips, each scored with its own document frequencies.
    """
    clips: dict[int, list[int]] = {}
    for index, example in enumerate(held_out.examples):
        clips.setdefault(example.clip, []).append(index)
    references = [[words_of(held_out.examples[i].caption) for i in held] for held in clips.values()]
    chosen = [held_out.examples[held[0]] for held in clips.values()]
    starts = range(0, len(chosen) - SET + 1, SET)
    means = []
    for clean in (1.0, 0.0):
        with torch.inference_mode():
            memory = memory_of(model, held_out.noise(chosen, clean, 0))
        found = search(TorchStepper(model, *memory), settings)
        texts = [words_of(vocabulary.decode(best[0].tokens)) for best in found]
        sets = [CiderD(references[i : i + SET]).score(texts[i : i + SET])[0] for i in starts]
        means.append(sum(sets) / len(sets))
    return means[0], means[1]


def constant(held_out: Sequence[Example], training: Sequence[Example]) -> str:
    """Return the frequent training caption that scores best when it is said of all held-out clips."""
    clips: dict[int, list[list[str]]] = {}
    for example in held_out:
        clips.setdefault(example.clip, []).append(words_of(example.caption))
    index = CiderD(list(clips.values()))
    frequent = Counter(" ".join(words_of(example.caption)) for example in training).most_common(200)
    return max((text for text, _ in frequent), key=lambda text: index.score([text.split()] * len(clips))[0])


def retrieved(
    posteriors: NDArray[np.float32], vectors: NDArray[np.float32], training: Sequence[Example]
) -> list[str]:
    """Return for each clip the most central of the NEAREST training captions.

    Args:
        posteriors: probability of every class, [clips, classes].
        vectors: of every training caption, [captions, classes].
        training: the captions.
    """
    random = np.random.default_rng(0)
    texts = [words_of(example.caption) for example in training]
    background = [[texts[i]] for i in random.choice(len(texts), BACKGROUND, replace=False)]
    norms = np.linalg.norm(vectors, axis=1) + 1e-6
    chosen = []
    for posterior in posteriors:
        nearest = np.argsort(-(vectors @ posterior) / norms, kind="stable")[:NEAREST]
        candidates = [texts[index] for index in nearest]
        central = CiderD([candidates, *background]).score_against(np.zeros(NEAREST, dtype=int), candidates)
        chosen.append(" ".join(candidates[int(central.argmax())]))
    return chosen


def spoken_of(lexicon: Lexicon, training: Sequence[Example]) -> NDArray[np.float32]:
    """Return the classes that training captions speak of, as probabilities, [captions, classes]."""
    return np.stack([lexicon.probabilities(example.caption) for example in training])


def table(pairs: Sequence[Pair], systems: dict[str, list[str]]) -> str:
    """Return a table of CIDEr-D ± bootstrap SD, over all recordings and over those from AudioCaps."""
    index = scorer(pairs)
    audiocaps = np.array([pair.corpus.startswith("audiocaps") for pair in pairs])
    lines = [f"| system | all {len(pairs)} | AudioCaps ({audiocaps.sum()}) | words |", "|---|---|---|---|"]
    for name, texts in systems.items():
        _, scores = index.score([words_of(text) for text in texts])
        part = scores[audiocaps]
        length = np.mean([len(words_of(text)) for text in texts])
        lines.append(
            f"| {name} | {scores.mean():.3f} ± {spread(scores):.3f} | {part.mean():.3f} ± {spread(part):.3f} "
            f"| {length:.1f} |"
        )
    return "\n".join(lines)


def ticked(training: Sequence[Example]) -> NDArray[np.float32]:
    """Return the labels of training captions as ones, [captions, classes]."""
    vectors = np.zeros((len(training), CLASSES), dtype=np.float32)
    for row, example in enumerate(training):
        vectors[row, list(example.labels)] = 1.0
    return vectors


def posteriors(adapter: LabelSet, features: Sequence[Tensor]) -> NDArray[np.float32]:
    """Return the calibrated probability of every class for every clip, [clips, classes]."""
    prior = (adapter.class_prior / (1.0 - adapter.class_prior)).log()
    found = []
    for clip in features:
        logits = clip[None, :, :CLASSES].clamp(-LIMIT, LIMIT)
        evidence = adapter.evidence(logits, torch.ones_like(logits[..., 0], dtype=torch.bool))
        found.append((evidence[0] + prior).sigmoid())
    stacked: NDArray[np.float32] = torch.stack(found).numpy()
    return stacked
