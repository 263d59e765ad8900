"""How far a corpus score can be trusted, and how varied captions are."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from otoscribe.metrics import ngrams
from otoscribe.metrics.ngrams import Floats

RESAMPLES = 1000
COVERAGE = 95
"""Per cent of the resampled scores that an interval holds, as many below it as above."""


@dataclass(frozen=True)
class Estimate:
    """A corpus score with its bootstrap interval, which one clip alone does not have."""

    value: float
    low: float | None
    high: float | None


def bootstrap_weights(clips: int, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Draw as many clips as there are, with replacement, again and again.

    This is the bootstrap over clips (Efron and Tibshirani 1993, chapter 13). The weighted sum of what a
    metric counts in each clip gives the score of each resample. The same clips get the same draws, so that
    two systems are compared on the same resamples (Koehn 2004, section 4).

    Args:
        clips: how many there are.
        resamples: how many sets to draw.
        seed: of the draws.

    Returns:
        How often each resample holds each clip, [resamples, clips]; whole numbers, as floats because their
        products are exact and fast. One clip has no resamples, as all would be alike: [0, 1].
    """
    if clips < 2:
        return np.zeros((0, clips))
    drawn = np.random.default_rng(seed).integers(clips, size=(resamples, clips))
    place = drawn + np.arange(resamples)[:, None] * clips
    counts = np.bincount(place.ravel(), minlength=resamples * clips)
    return counts.reshape(resamples, clips).astype(np.float64)


def interval(resampled: Floats) -> tuple[float, float] | tuple[None, None]:
    """Return the limits between which 95 % of the resamples' scores lie.

    Args:
        resampled: a corpus score of each resample, [resamples].

    Returns:
        The lower and the upper limit (percentile interval); None for both if there are no resamples.
    """
    if not resampled.size:
        return None, None
    low, high = np.percentile(resampled, [(100 - COVERAGE) / 2, (100 + COVERAGE) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class Statistics:
    """Lengths and vocabulary of captions, in words as the tokeniser gives them.

    The vocabulary and its ratios to the references' are those of the metric `vocab` of aac-metrics. Several
    references hold more words than one caption; the vocabulary to expect of one reference drawn for each clip
    is the fair comparison (aac-metrics averages some draws, here is the exact mean of all).
    """

    clips: int
    words_mean: float
    words_median: float
    words_min: int
    words_max: int
    reference_words_mean: float
    reference_words_median: float
    reference_words_min: int
    reference_words_max: int
    empty_captions: int
    """Captions without a word."""
    distinct_captions: int
    """Different captions; one that several clips have counts once."""
    vocabulary: int
    """Distinct words of the candidates."""
    reference_vocabulary: int
    """Distinct words of all references."""
    one_reference_vocabulary: float
    """Distinct words to expect if one reference is drawn for each clip."""
    vocabulary_ratio: float | None
    """`vocabulary` / `reference_vocabulary`; None if no reference holds a word."""
    one_reference_vocabulary_ratio: float | None
    """`vocabulary` / `one_reference_vocabulary`; None if no reference holds a word."""
    unseen_words: float | None
    """Share of the candidates' words, each as often as it occurs, that no reference of any clip holds; None
    if the candidates hold no word."""


class Describer:
    """Describes candidates beside one evaluated set, whose references are counted once.

    Args:
        references: clips x references x tokens.

    Raises:
        UsageError: there is no clip, a clip has no reference, or a text stands where tokens should.
    """

    def __init__(self, references: Sequence[Sequence[Sequence[str]]]) -> None:
        _, texts = ngrams.flattened(references)
        self._clips = len(references)
        self._lengths = np.array([len(text) for text in texts])
        self._words = set(chain.from_iterable(texts))
        self._one_reference_vocabulary = _one_reference_vocabulary(references)

    def describe(self, candidates: Sequence[Sequence[str]]) -> Statistics:
        """Describe one caption per clip.

        Args:
            candidates: clips x tokens, in the order of the references.

        Raises:
            UsageError: there are more or fewer captions than clips, or a text stands where tokens should.
        """
        ngrams.require_one_each(candidates, self._clips)
        lengths = np.array([len(caption) for caption in candidates])
        words = Counter(chain.from_iterable(candidates))
        unseen = sum(count for word, count in words.items() if word not in self._words)
        expected = self._one_reference_vocabulary
        return Statistics(
            clips=self._clips,
            words_mean=float(lengths.mean()),
            words_median=float(np.median(lengths)),
            words_min=int(lengths.min()),
            words_max=int(lengths.max()),
            reference_words_mean=float(self._lengths.mean()),
            reference_words_median=float(np.median(self._lengths)),
            reference_words_min=int(self._lengths.min()),
            reference_words_max=int(self._lengths.max()),
            empty_captions=int((lengths == 0).sum()),
            distinct_captions=len(set(map(tuple, candidates))),
            vocabulary=len(words),
            reference_vocabulary=len(self._words),
            one_reference_vocabulary=expected,
            vocabulary_ratio=len(words) / len(self._words) if self._words else None,
            one_reference_vocabulary_ratio=len(words) / expected if self._words else None,
            unseen_words=unseen / words.total() if words else None,
        )


def _one_reference_vocabulary(references: Sequence[Sequence[Sequence[str]]]) -> float:
    """Sum, over words, the probability that a draw of one reference for each clip holds the word."""
    absent: dict[str, float] = {}
    for clip in references:
        for word, holding in Counter(chain.from_iterable(map(set, clip))).items():
            absent[word] = absent.get(word, 1.0) * (1 - holding / len(clip))
    return len(absent) - sum(absent.values())
