"""CIDEr-D, the consensus of a caption with several references (Vedantam et al. 2015, sections 3 and 5).

What is exact here is the number that the field reports, that of pycocoevalcap's `cider_scorer`. It settles
what the paper leaves open: an n-gram that no reference holds weighs as much as one that a single clip's
references hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import ArrayLike, NDArray

from otoscribe.errors import UsageError

ORDERS = 4
"""Scores are means over n-grams of 1 to this many words."""
SIGMA = 6.0
"""Width of the Gaussian penalty on the difference in length, in words."""
SCALE = 10.0
"""What a caption of `ORDERS` words or more scores that equals all its references."""

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Sentences:
    """Token sequences laid end to end."""

    token: Integers
    """[tokens]"""
    sentence: Integers
    """Which sequence each token belongs to, [tokens]."""
    remaining: Integers
    """How many tokens of its sequence each token begins, itself included, [tokens]."""
    lengths: Integers
    """[sentences]"""


@dataclass(frozen=True)
class _Order:
    """The references' n-grams of one size. An n-gram is numbered by the place of its key in `known`."""

    known: Integers
    """Sorted keys, see `_number`, [n-grams]."""
    rarity: Floats
    """log(clips / clips whose references hold the n-gram), [n-grams]."""
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
        counts = np.array([len(clip) for clip in references], dtype=np.int64)
        if not counts.size or not counts.all():
            raise UsageError("CIDEr-D needs at least one clip, and at least one reference for each clip.")
        self._ids: dict[str, int] = {}
        sentences = self._lay(list(chain.from_iterable(references)), self._ids)
        self._count = counts
        self._first = np.cumsum(counts) - counts
        self._lengths = sentences.lengths
        self._log_clips = np.log(len(counts))
        self._orders: list[_Order] = []
        clip_of = np.repeat(np.arange(len(counts)), counts)
        gram: Integers = np.zeros(sentences.token.size, dtype=np.int64)
        for order in range(1, ORDERS + 1):
            gram, known = _number(sentences, order, gram, np.zeros(0, dtype=np.int64))
            reference, held, times = _count(sentences, order, gram)
            clip_gram, pair = np.unique(_pair(clip_of[reference], held), return_inverse=True)
            clips_with = np.bincount(_second(clip_gram), minlength=known.size)
            rarity = self._log_clips - np.log(clips_with)
            weight = times * rarity[held]
            norm = np.sqrt(np.bincount(reference, weight**2, minlength=counts.sum()))
            by_pair = np.argsort(pair, kind="stable")
            posting = np.concatenate([[0], np.cumsum(np.bincount(pair, minlength=clip_gram.size))])
            self._orders.append(
                _Order(known, rarity, norm, clip_gram, posting, reference[by_pair], weight[by_pair])
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
        if len(candidates) != len(self._count):
            raise UsageError(
                f"There are {len(candidates)} captions for {len(self._count)} clips; give one each."
            )
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
        sentences = self._lay(candidates, dict(self._ids))
        # A row is one caption beside one of its references.
        first_row = np.cumsum(self._count[clips]) - self._count[clips]
        caption = np.repeat(np.arange(clips.size), self._count[clips])
        reference = np.arange(caption.size) - first_row[caption] + self._first[clips[caption]]
        similarity = np.zeros(caption.size)
        gram: Integers = np.zeros(sentences.token.size, dtype=np.int64)
        for size, order in enumerate(self._orders, start=1):
            gram, _ = _number(sentences, size, gram, order.known)
            held_by, held, times = _count(sentences, size, gram)
            found = held < order.known.size
            rarity = np.full(held.size, self._log_clips)
            rarity[found] = order.rarity[held[found]]
            weight = times * rarity
            norm = np.sqrt(np.bincount(held_by, weight**2, minlength=clips.size))
            entry, at = _look_up(order, clips[held_by], held, found)
            theirs = order.weight[at]
            row = first_row[held_by[entry]] + order.reference[at] - self._first[clips[held_by[entry]]]
            dot = np.bincount(row, np.minimum(weight[entry], theirs) * theirs, minlength=caption.size)
            norms = norm[caption] * order.norm[reference]
            similarity += np.divide(dot, norms, out=np.zeros(caption.size), where=norms > 0)
        # The reference tool counts bigrams: as many more or fewer, but for empty texts, which score 0 anyway.
        difference = sentences.lengths[caption] - self._lengths[reference]
        similarity *= np.exp(-(difference**2) / (2 * SIGMA**2)) / ORDERS
        total = np.bincount(caption, similarity, minlength=clips.size)
        return SCALE * total / self._count[clips]

    @staticmethod
    def _lay(sentences: Sequence[Sequence[str]], ids: dict[str, int]) -> _Sentences:
        """Lay sequences end to end, adding new words to `ids`."""
        if any(isinstance(sentence, str) for sentence in sentences):
            raise UsageError("CIDEr-D compares lists of tokens, not texts: tokenise the captions first.")
        lengths = np.array([len(sentence) for sentence in sentences], dtype=np.int64)
        words = chain.from_iterable(sentences)
        token = np.fromiter((ids.setdefault(word, len(ids)) for word in words), np.int64, lengths.sum())
        end = np.repeat(np.cumsum(lengths), lengths)
        sentence = np.repeat(np.arange(lengths.size), lengths)
        return _Sentences(token, sentence, end - np.arange(token.size), lengths)


def _pair(first: Integers, second: Integers) -> Integers:
    """Make one sortable number of two below 2**31."""
    return (first << 32) | second


def _second(pair: Integers) -> Integers:
    return pair & 0xFFFFFFFF


def _number(
    sentences: _Sentences, order: int, shorter: Integers, known: Integers
) -> tuple[Integers, Integers]:
    """Number the n-grams of size `order`.

    An n-gram's key is the number of its first n - 1 words' n-gram with the id of its last word.

    Args:
        sentences: what to read.
        order: n.
        shorter: number of the n-gram of size `order` - 1 that begins at each token, [tokens]; any for n = 1.
        known: sorted keys of the n-grams numbered already, by their place. New ones are numbered after them.

    Returns:
        The number of the n-gram that begins at each token (meaningless where fewer than `order` tokens
        remain), and the sorted keys of the new n-grams.
    """
    begins = np.flatnonzero(sentences.remaining >= order)
    keys = _pair(shorter[begins], sentences.token[begins + order - 1])
    place = np.searchsorted(known, keys)
    old = place < known.size
    old[old] = known[place[old]] == keys[old]
    new, inverse = np.unique(keys[~old], return_inverse=True)
    place[~old] = known.size + inverse
    gram: Integers = np.zeros_like(shorter)
    gram[begins] = place
    return gram, new


def _count(sentences: _Sentences, order: int, gram: Integers) -> tuple[Integers, Integers, Integers]:
    """Return sentence, n-gram and number of occurrences of every n-gram that a sentence holds."""
    begins = sentences.remaining >= order
    pairs, times = np.unique(_pair(sentences.sentence[begins], gram[begins]), return_counts=True)
    return pairs >> 32, _second(pairs), times


def _look_up(
    order: _Order, clip: Integers, gram: Integers, found: NDArray[np.bool_]
) -> tuple[Integers, Integers]:
    """Match n-grams with the references of their clips.

    Returns:
        For every match which of the given n-grams it is, and its place in `reference` and `weight`.
    """
    entry = np.flatnonzero(found)
    wanted = _pair(clip[entry], gram[entry])
    place = np.searchsorted(order.clip_gram, wanted)
    hit = place < order.clip_gram.size
    hit[hit] = order.clip_gram[place[hit]] == wanted[hit]
    entry, place = entry[hit], place[hit]
    begin, matches = order.posting[place], order.posting[place + 1] - order.posting[place]
    # Count upwards from each beginning, as many as there are matches.
    within = np.arange(matches.sum()) - np.repeat(np.cumsum(matches) - matches, matches)
    return np.repeat(entry, matches), np.repeat(begin, matches) + within
