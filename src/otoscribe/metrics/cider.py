"""CIDEr-D, the consensus of a caption with several references (Vedantam et al. 2015, sections 3 and 5).

What is exact here is the number that the field reports, that of pycocoevalcap's `cider_scorer`. It settles
what the paper leaves open: an n-gram that no reference holds weighs as much as one that a single clip's
references hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from otoscribe.errors import UsageError
from otoscribe.metrics import ngrams
from otoscribe.metrics.ngrams import ORDERS, Floats, Integers, Numbering

SIGMA = 6.0
"""Width of the Gaussian penalty on the difference in length, in words."""
SCALE = 10.0
"""What a caption of `ORDERS` words or more scores that equals all its references."""


@dataclass(frozen=True)
class _Order:
    """The references' n-grams of one size."""

    rarity: Floats
    """log(clips / clips whose references hold the n-gram), [n-grams + 1]; last for one that none holds."""
    norm: Floats
    """Euclidean length of each reference's weights, [references]."""
    clip_gram: Integers
    """Sorted pairs of clip and n-gram that occur, [pairs]."""
    posting: Integers
    """Where the pair's references begin in the next two, and the end, [pairs + 1]."""
    reference: Integers
    weight: Floats


class CiderD:
    """Scores captions against one evaluated set, whose references are indexed once.

    Args:
        references: clips x references x tokens, as the tokeniser gave them. Each clip needs one reference or
            more; they may differ in number. Rarity is relative to this set: one clip alone scores 0.

    Raises:
        UsageError: there is no clip, a clip has no reference, or a text stands where tokens should.
    """

    def __init__(self, references: Sequence[Sequence[Sequence[str]]]) -> None:
        self._count, texts = ngrams.flattened(references)
        self._first = np.cumsum(self._count) - self._count
        self._numbering = Numbering(texts)
        self._orders: list[_Order] = []
        clip_of = np.repeat(np.arange(self._count.size), self._count)
        for counts in self._numbering.counts:
            pairs = ngrams.pair(clip_of[counts.sentence], counts.gram)
            clip_gram, pair = np.unique(pairs, return_inverse=True)
            clips_with = np.append(np.bincount(ngrams.second(clip_gram)), 1)
            rarity = np.log(self._count.size) - np.log(clips_with)
            weight = counts.times * rarity[counts.gram]
            norm = np.sqrt(np.bincount(counts.sentence, weight**2, minlength=len(texts)))
            by_pair = np.argsort(pair, kind="stable")
            posting = np.concatenate([[0], np.cumsum(np.bincount(pair, minlength=clip_gram.size))])
            self._orders.append(
                _Order(rarity, norm, clip_gram, posting, counts.sentence[by_pair], weight[by_pair])
            )

    def score(self, candidates: Sequence[Sequence[str]]) -> tuple[float, Floats]:
        """Score one caption per clip.

        Args:
            candidates: clips x tokens, in the order of the references.

        Returns:
            The mean, and each clip's score, 0 to 10, [clips].

        Raises:
            UsageError: there are more or fewer captions than clips, or a text stands where tokens should.
        """
        ngrams.require_one_each(candidates, len(self._count))
        scores = self.score_against(np.arange(len(self._count)), candidates)
        return float(scores.mean()), scores

    def score_against(self, clip_indices: ArrayLike, candidates: Sequence[Sequence[str]]) -> Floats:
        """Score any number of captions, each against the references of one clip.

        Args:
            clip_indices: which clip each caption describes, [captions].
            candidates: captions x tokens.

        Returns:
            Each caption's score, 0 to 10, [captions].

        Raises:
            UsageError: a clip does not exist, the arguments differ in length, or a text stands where
                tokens should.
        """
        clips = np.asarray(clip_indices, dtype=np.int64)
        if clips.shape != (len(candidates),):
            raise UsageError(f"{len(candidates)} captions need as many clip indices, not {clips.size}.")
        if clips.size and not 0 <= clips.min() <= clips.max() < len(self._count):
            raise UsageError(f"Clip indices go from 0 to {len(self._count) - 1}.")
        ngrams.require_tokens(candidates)
        lengths, counted = self._numbering.count(candidates)
        # A row is one caption beside one of its references.
        first_row = np.cumsum(self._count[clips]) - self._count[clips]
        caption = np.repeat(np.arange(clips.size), self._count[clips])
        reference = np.arange(caption.size) - first_row[caption] + self._first[clips[caption]]
        similarity = np.zeros(caption.size)
        for order, counts in zip(self._orders, counted, strict=True):
            weight = counts.times * order.rarity[np.minimum(counts.gram, order.rarity.size - 1)]
            norm = np.sqrt(np.bincount(counts.sentence, weight**2, minlength=clips.size))
            entry, at = _look_up(order, ngrams.pair(clips[counts.sentence], counts.gram))
            theirs = order.weight[at]
            ours = counts.sentence[entry]
            row = first_row[ours] + order.reference[at] - self._first[clips[ours]]
            dot = np.bincount(row, np.minimum(weight[entry], theirs) * theirs, minlength=caption.size)
            norms = norm[caption] * order.norm[reference]
            similarity += np.divide(dot, norms, out=np.zeros(caption.size), where=norms > 0)
        # The reference tool counts bigrams: as many more or fewer, but for empty texts, which score 0 anyway.
        difference = lengths[caption] - self._numbering.lengths[reference]
        similarity *= np.exp(-(difference**2) / (2 * SIGMA**2)) / ORDERS
        total = np.bincount(caption, similarity, minlength=clips.size)
        return SCALE * total / self._count[clips]


def _look_up(order: _Order, clip_gram: Integers) -> tuple[Integers, Integers]:
    """Match pairs of clip and n-gram with the clips' references.

    Returns:
        For every match which of the given pairs it is, and its place in `reference` and `weight`.
    """
    place, found = ngrams.find(order.clip_gram, clip_gram)
    entry, place = np.flatnonzero(found), place[found]
    begin, matches = order.posting[place], order.posting[place + 1] - order.posting[place]
    # Count upwards from each beginning, as many as there are matches.
    within = np.arange(matches.sum()) - np.repeat(np.cumsum(matches) - matches, matches)
    return np.repeat(entry, matches), np.repeat(begin, matches) + within
