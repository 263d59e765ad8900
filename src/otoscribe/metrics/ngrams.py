"""Token sequences as arrays of numbers: n-grams are numbered, so that to count and match them is to sort."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from otoscribe.errors import UsageError

ORDERS = 4
"""BLEU and CIDEr-D compare n-grams of 1 to this many words."""

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]


def flattened(references: Sequence[Sequence[Sequence[str]]]) -> tuple[Integers, list[Sequence[str]]]:
    """Lay the references of all clips end to end.

    Args:
        references: clips x references x tokens; clips may differ in their number of references.

    Returns:
        How many references each clip has, [clips]; and the references, clip by clip.

    Raises:
        UsageError: there is no clip, a clip has no reference, or a text stands where tokens should.
    """
    counts = np.array([len(clip) for clip in references], dtype=np.int64)
    if not counts.size or not counts.all():
        raise UsageError("Scoring needs at least one clip, and at least one reference for each clip.")
    texts = list(chain.from_iterable(references))
    require_tokens(texts)
    return counts, texts


def require_tokens(sentences: Sequence[Sequence[str]]) -> None:
    """Refuse what was not tokenised.

    Raises:
        UsageError: a text stands where tokens should.
    """
    if any(isinstance(sentence, str) for sentence in sentences):
        raise UsageError("Metrics compare lists of tokens, not texts: tokenise the captions first.")


def require_one_each(candidates: Sequence[Sequence[str]], clips: int) -> None:
    """Refuse candidates that do not stand in line with the clips.

    Raises:
        UsageError: there are more or fewer captions than clips, or a text stands where tokens should.
    """
    if len(candidates) != clips:
        raise UsageError(f"There are {len(candidates)} captions for {clips} clips; give one each.")
    require_tokens(candidates)


@dataclass(frozen=True)
class Counts:
    """How often sequences hold n-grams of one size: an entry for every n-gram that a sequence holds."""

    sentence: Integers
    """Which sequence, ascending, [entries]."""
    gram: Integers
    """The n-gram's number, [entries]."""
    times: Integers
    """[entries]"""


class Numbering:
    """Numbers for the n-grams of an evaluated set's references.

    Args:
        sentences: references x tokens.

    Attributes:
        lengths: tokens of each reference, [references].
        counts: the references' n-grams of 1 to `ORDERS` words, [orders].
    """

    def __init__(self, sentences: Sequence[Sequence[str]]) -> None:
        self._ids: dict[str, int] = {}
        self._known: list[Integers] = []
        laid = _lay(sentences, self._ids)
        self.lengths = laid.lengths
        gram = laid.token
        self.counts = [_count(laid, 1, gram)]
        for order in range(2, ORDERS + 1):
            gram, new = _number(laid, order, gram, np.zeros(0, dtype=np.int64))
            self._known.append(new)
            self.counts.append(_count(laid, order, gram))

    def count(self, sentences: Sequence[Sequence[str]]) -> tuple[Integers, list[Counts]]:
        """Count the n-grams of other sequences by the same numbers; those of no reference get larger ones.

        Args:
            sentences: sentences x tokens.

        Returns:
            Tokens of each sequence, [sentences]; and the n-grams of 1 to `ORDERS` words, [orders].
        """
        laid = _lay(sentences, dict(self._ids))
        gram = laid.token
        counts = [_count(laid, 1, gram)]
        for order, known in enumerate(self._known, start=2):
            gram, _ = _number(laid, order, gram, known)
            counts.append(_count(laid, order, gram))
        return laid.lengths, counts


def pair(first: Integers, second: Integers) -> Integers:
    """Make one number of two below 2**31, which sorts by the first, then the second."""
    return (first << 32) | second


def second(pairs: Integers) -> Integers:
    """Return the second number of each pair."""
    return pairs & 0xFFFFFFFF


def find(ascending: Integers, wanted: Integers) -> tuple[Integers, Booleans]:
    """Return where in `ascending` each wanted number stands or would stand, and whether it does."""
    place = np.searchsorted(ascending, wanted)
    found = place < ascending.size
    found[found] = ascending[place[found]] == wanted[found]
    return place, found


@dataclass(frozen=True)
class _Laid:
    """Token sequences laid end to end."""

    token: Integers
    """Which word it is, [tokens]."""
    sentence: Integers
    """Which sequence each token belongs to, [tokens]."""
    remaining: Integers
    """How many tokens of its sequence each token begins, itself included, [tokens]."""
    lengths: Integers
    """[sentences]"""


def _lay(sentences: Sequence[Sequence[str]], ids: dict[str, int]) -> _Laid:
    """Lay sequences end to end, adding new words to `ids`."""
    lengths = np.array([len(sentence) for sentence in sentences], dtype=np.int64)
    words = list(chain.from_iterable(sentences))
    for word in dict.fromkeys(words):
        ids.setdefault(word, len(ids))
    token = np.fromiter(map(ids.__getitem__, words), np.int64, len(words))
    end = np.repeat(np.cumsum(lengths), lengths)
    sentence = np.repeat(np.arange(lengths.size), lengths)
    return _Laid(token, sentence, end - np.arange(token.size), lengths)


def _number(laid: _Laid, order: int, shorter: Integers, known: Integers) -> tuple[Integers, Integers]:
    """Number the n-grams of size `order`, 2 or more; those of one word have the word's number.

    An n-gram's key is the number of its first n - 1 words' n-gram with the id of its last word.

    Args:
        laid: what to read.
        order: n.
        shorter: number of the n-gram of size `order` - 1 that begins at each token, [tokens].
        known: sorted keys of the n-grams numbered already, by their place. New ones are numbered after them.

    Returns:
        The number of the n-gram that begins at each token (meaningless where fewer than `order` tokens
        remain), and the sorted keys of the new n-grams.
    """
    begins = np.flatnonzero(laid.remaining >= order)
    keys = pair(shorter[begins], laid.token[begins + order - 1])
    place, old = find(known, keys)
    new, inverse = np.unique(keys[~old], return_inverse=True)
    place[~old] = known.size + inverse
    gram: Integers = np.zeros_like(shorter)
    gram[begins] = place
    return gram, new


def _count(laid: _Laid, order: int, gram: Integers) -> Counts:
    begins = laid.remaining >= order
    pairs, times = np.unique(pair(laid.sentence[begins], gram[begins]), return_counts=True)
    return Counts(pairs >> 32, second(pairs), times)
