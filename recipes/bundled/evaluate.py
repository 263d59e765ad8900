"""How good the captions are, beside captions that need no captioner."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from otoscribe.listen.grounded import Ground, grounded_search
from otoscribe.metrics.cider import CiderD
from otoscribe.model.adapters.evidence import CLASSES, PITCHES, Evidence, EvidenceMemory, evidence_of
from otoscribe.model.caption_model import CaptionModel
from otoscribe.model.torch_stepper import TorchStepper
from otoscribe.search.beam import Hypothesis
from otoscribe.search.options import Search
from otoscribe.text.phrase_book import phrase_book
from otoscribe.text.vocabulary import Vocabulary, words_of
from recipes.bundled.channel import Channel
from recipes.bundled.corpus import Pair
from recipes.bundled.examples import BRIEF, MENTIONED, Example
from recipes.bundled.learn import memory_of
from recipes.bundled.measure import Measured
from recipes.bundled.relations import Relations, families
from recipes.bundled.written import scene_of

NEAREST = 30
"""Captions among which the retrieval baseline picks."""
BACKGROUND = 2000
"""Training captions that decide how rare a word is, where those captions are compared."""
SET = 64
"""Held-out clips that are scored together: the score of a set depends on how large it is."""
DRAWS = 2000
"""Bootstrap samples of the clips."""
CLEAR = 1.4
"""Strength of a sound that is clear: a score of .8 all the time."""
EMPTY_WORDS = frozenset(
    words_of(
        "a an and are by from in into is it its of on over the their to up with someone something person "
        "people sound sounds heard being"
    )
)
"""Words of the phrase book that name no sound."""


def evidence_in(features: Sequence[Tensor]) -> Evidence:
    """Measure what clips of features [frames, 524] show, one by one."""
    rows = [evidence_of(clip[None], torch.ones(1, len(clip), dtype=torch.bool)) for clip in features]
    return Evidence(*(torch.cat(parts) for parts in zip(*rows, strict=True)))


def found(
    model: CaptionModel, vocabulary: Vocabulary, evidence: Evidence, settings: Search, style: int = BRIEF
) -> list[tuple[Hypothesis, Ground]]:
    """Return the best caption of clips of which it is known what is heard, and what speaks for it."""
    adapter = model.adapter
    assert isinstance(adapter, EvidenceMemory)
    best = []
    for part in _parts(evidence):
        with torch.inference_mode():
            stepper = TorchStepper(model, *memory_of(model, part, torch.full((len(part.strength),), style)))
            support = adapter.support(part.strength)
            salience = adapter.salience(*adapter.select(part.strength))
        grounds = list(map(Ground, support.numpy(), salience.numpy()))
        hypotheses = grounded_search(stepper, grounds, vocabulary, settings)
        best += [(kept[0], ground) for kept, ground in zip(hypotheses, grounds, strict=True)]
    return best


def captions(
    model: CaptionModel, vocabulary: Vocabulary, evidence: Evidence, settings: Search, style: int = BRIEF
) -> list[str]:
    """Caption clips of which it is known what is heard."""
    best = found(model, vocabulary, evidence, settings, style)
    return [vocabulary.decode(hypothesis.tokens) for hypothesis, _ in best]


def _parts(evidence: Evidence) -> Iterator[Evidence]:
    for start in range(0, len(evidence.strength), SET):
        yield Evidence(*(part[start : start + SET] for part in evidence))


def through_channel(
    model: CaptionModel,
    vocabulary: Vocabulary,
    held_out: Sequence[Example],
    channel: Channel,
    settings: Search,
) -> float:
    """Return CIDEr-D on held-out clips of which only labels are known, heard through the channel.

    It is the mean over sets of SET clips, each scored with its own document frequencies.
    """
    clips: dict[int, list[Example]] = defaultdict(list)
    for example in held_out:
        clips[example.clip].append(example)
    draw = Random(0)
    scenes = []
    for examples in clips.values():
        scene = scene_of(examples[0], draw)
        said = {c for example in examples for c, p in example.probabilities.items() if p > MENTIONED}
        scenes.append(replace(scene, spoken=frozenset(said & set(scene.labels))))
    texts = [words_of(text) for text in captions(model, vocabulary, channel(scenes, 1), settings)]
    references = [[words_of(example.caption) for example in examples] for examples in clips.values()]
    starts = range(0, len(texts) - SET + 1, SET)
    return float(np.mean([CiderD(references[i : i + SET]).score(texts[i : i + SET])[0] for i in starts]))


def unnamed_alone(
    model: CaptionModel, vocabulary: Vocabulary, measured: Measured, relations: Relations
) -> dict[str, str]:
    """Return the classes that are not named where nothing else is heard, and what is said instead.

    Each is heard clearly and all the time, and nothing but what it raises is heard with it. It is named by a
    word of its own or of a relative's phrases.
    """
    raised = measured.alike * (CLEAR - measured.background)[:, None]
    alone = Evidence(
        strength=measured.background + raised,
        centre=torch.full_like(raised, 0.5),
        duration=torch.full_like(raised, 0.9),
        voices=torch.zeros(CLASSES, PITCHES),
    )
    texts = captions(model, vocabulary, alone, Search(beam=1, maximum_words=20))
    names = names_of(families(relations, measured.alike.double().numpy()))
    return {
        phrase_book()[sound].name: text
        for sound, text in enumerate(texts)
        if not names[sound] & set(words_of(text))
    }


def names_of(related: NDArray[np.bool_]) -> list[set[str]]:
    """Return for each class the words by which it is named, its relatives' too.

    Args:
        related: from `relations.families`.
    """
    words = [
        set(words_of(" ".join((sound.name, *sound.captions, sound.sustained, sound.abrupt)))) - EMPTY_WORDS
        for sound in phrase_book()
    ]
    return [set[str]().union(*(words[relative] for relative in np.flatnonzero(row))) for row in related]


def cider(pairs: Sequence[Pair], texts: Sequence[str]) -> tuple[float, float]:
    """Return CIDEr-D of captions of recordings, and its bootstrap standard deviation over them."""
    index = CiderD([[words_of(caption) for caption in pair.captions] for pair in pairs])
    mean, scores = index.score([words_of(text) for text in texts])
    draws = np.random.default_rng(0).integers(0, scores.size, (DRAWS, scores.size))
    return mean, float(scores[draws].mean(1).std())


def constant(held_out: Sequence[Example], training: Sequence[Example]) -> str:
    """Return the frequent training caption that scores best when it is said of all held-out clips."""
    clips: dict[int, list[list[str]]] = defaultdict(list)
    for example in held_out:
        clips[example.clip].append(words_of(example.caption))
    index = CiderD(list(clips.values()))
    frequent = Counter(" ".join(words_of(example.caption)) for example in training).most_common(200)
    return max((text for text, _ in frequent), key=lambda text: index.score([text.split()] * len(clips))[0])


def top_three(adapter: EvidenceMemory, evidence: Evidence) -> list[str]:
    """Return the first phrases of the three sounds with most evidence: no caption, and a mark for naming."""
    sounds, _ = adapter.select(evidence.strength)
    return [" ".join(phrase_book()[sound].captions[0] for sound in row[:3]) for row in sounds.tolist()]


def retrieved(adapter: EvidenceMemory, evidence: Evidence, training: Sequence[Example]) -> list[str]:
    """Return for each clip the most central of the NEAREST training captions, by labels and evidence."""
    vectors = np.zeros((len(training), CLASSES), dtype=np.float32)
    for row, example in enumerate(training):
        vectors[row, list(example.labels)] = 1.0
    norms = np.linalg.norm(vectors, axis=1) + 1e-6
    texts = [words_of(example.caption) for example in training]
    background = [[texts[i]] for i in np.random.default_rng(0).choice(len(texts), BACKGROUND, replace=False)]
    chosen = []
    for heard in _residues(adapter, evidence):
        nearest = np.argsort(-(vectors @ heard) / norms, kind="stable")[:NEAREST]
        candidates = [texts[index] for index in nearest]
        central = CiderD([candidates, *background]).score_against(np.zeros(NEAREST, dtype=int), candidates)
        chosen.append(" ".join(candidates[int(central.argmax())]))
    return chosen


def _residues(adapter: EvidenceMemory, evidence: Evidence) -> NDArray[np.float32]:
    sounds, residues = adapter.select(evidence.strength)
    heard: NDArray[np.float32] = (
        torch.zeros_like(evidence.strength).scatter(1, sounds, residues.clamp(min=0.0)).numpy()
    )
    return heard
