"""BLEU-1 to BLEU-4, n-gram precision with a penalty for brevity (Papineni et al. 2002, section 2).

What is exact here is the number that the captioning field reports, that of pycocoevalcap's `bleu_scorer`: the
reference closest in length counts, the shorter of two equally close ones, and small constants stand in
for the smoothing of a precision of zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from otoscribe.metrics import ngrams
from otoscribe.metrics.ngrams import ORDERS, Floats, Integers, Numbering

TINY, SMALL = 1e-15, 1e-9
"""Added to every numerator and to every denominator."""


@dataclass(frozen=True)
class BleuStatistics:
    """What BLEU counts in each clip; a corpus is scored by the sums."""

    correct: Integers
    """The candidate's n-grams that a reference holds as often, [clips, orders]."""
    guessed: Integers
    """The candidate's n-grams, [clips, orders]."""
    length: Integers
    """Words of the candidate, [clips]."""
    closest: Integers
    """Words of the reference closest in length, [clips]."""

    def per_clip(self) -> Floats:
        """Return BLEU-1 to BLEU-4 of each clip by itself, 0 to 1, [clips, orders]."""
        return _bleu(self.correct, self.guessed, self.length, self.closest)

    def corpus(self, weights: Floats | None = None) -> Floats:
        """Score the clips as one corpus, or many corpora drawn from them.

        Args:
            weights: how often each corpus holds each clip, [corpora, clips]. None is every clip once.

        Returns:
            BLEU-1 to BLEU-4, 0 to 1, [corpora, orders], or [orders] without `weights`.
        """
        counts = np.column_stack([self.correct, self.guessed, self.length, self.closest]).astype(np.float64)
        # Whole numbers below 2**53: the product of floats is exact, and that of integers is slow.
        sums = counts.sum(axis=0) if weights is None else weights @ counts
        correct, guessed, lengths = np.split(sums, [ORDERS, 2 * ORDERS], axis=-1)
        return _bleu(correct, guessed, lengths[..., 0], lengths[..., 1])


class Bleu:
    """Scores captions against one evaluated set, whose references are indexed once.

    Args:
        references: clips x references x tokens, as the tokeniser gave them. Each clip needs one reference or
            more; they may differ in number.

    Raises:
        UsageError: there is no clip, a clip has no reference, or a text stands where tokens should.
    """

    def __init__(self, references: Sequence[Sequence[Sequence[str]]]) -> None:
        self._count, texts = ngrams.flattened(references)
        self._clip_of = np.repeat(np.arange(self._count.size), self._count)
        self._numbering = Numbering(texts)
        # Sorted pairs of clip and n-gram, and the most often that one reference of the clip holds it.
        self._held: list[tuple[Integers, Integers]] = []
        for counts in self._numbering.counts:
            pairs = ngrams.pair(self._clip_of[counts.sentence], counts.gram)
            clip_gram, place = np.unique(pairs, return_inverse=True)
            most: Integers = np.zeros(clip_gram.size, dtype=np.int64)
            np.maximum.at(most, place, counts.times)
            self._held.append((clip_gram, most))

    def statistics(self, candidates: Sequence[Sequence[str]]) -> BleuStatistics:
        """Count what BLEU compares, for one caption per clip.

        Args:
            candidates: clips x tokens, in the order of the references.

        Raises:
            UsageError: there are more or fewer captions than clips, or a text stands where tokens should.
        """
        clips = self._count.size
        ngrams.require_one_each(candidates, clips)
        lengths, orders = self._numbering.count(candidates)
        correct: Integers = np.zeros((clips, ORDERS), dtype=np.int64)
        for size, (counts, (clip_gram, most)) in enumerate(zip(orders, self._held, strict=True)):
            place, found = ngrams.find(clip_gram, ngrams.pair(counts.sentence, counts.gram))
            matches = np.minimum(counts.times[found], most[place[found]])
            correct[:, size] = np.bincount(counts.sentence[found], matches, minlength=clips)
        guessed = np.maximum(lengths[:, None] - np.arange(ORDERS), 0)
        theirs = self._numbering.lengths
        by_distance = ngrams.pair(np.abs(theirs - lengths[self._clip_of]), theirs)
        first = np.cumsum(self._count) - self._count
        closest = ngrams.second(np.minimum.reduceat(by_distance, first))
        return BleuStatistics(correct, guessed, lengths, closest)


def _bleu(
    correct: NDArray[np.int64 | np.float64],
    guessed: NDArray[np.int64 | np.float64],
    length: NDArray[np.int64 | np.float64],
    closest: NDArray[np.int64 | np.float64],
) -> Floats:
    """Make BLEU of counts: [..., orders] for the first two, [...] for the lengths."""
    precision: Floats = (correct + TINY) / (guessed + SMALL)
    means = np.cumprod(precision, axis=-1) ** (1 / np.arange(1, ORDERS + 1))
    ratio = (length + TINY) / (closest + SMALL)
    brevity = np.exp(np.minimum(1 - 1 / ratio, 0))
    penalised: Floats = means * brevity[..., None]
    return penalised
