"""Rules of search, as values: each forbids some continuations of some captions."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol

import numpy as np

from otoscribe.errors import UsageError
from otoscribe.search.options import Decoding
from otoscribe.search.stepper import Floats, Integers
from otoscribe.text.vocabulary import END, PAD, SPECIALS, START, UNKNOWN


class Rule(Protocol):
    """Forbids words that must not come next.

    Where the rules together leave nothing, not even `END`, the caption ends all the same.
    """

    def apply(self, log_probabilities: Floats, history: Integers) -> None:
        """Set what is forbidden to -inf, in place.

        Args:
            log_probabilities: of the next word, [clips, beam, vocabulary].
            history: ids of the words so far, [clips, beam, time], `START` first.
        """


@dataclass(frozen=True)
class Never:
    """Some words are never said."""

    words: tuple[int, ...]

    def apply(self, log_probabilities: Floats, history: Integers) -> None:
        """Forbid them everywhere."""
        _check(self.words, log_probabilities.shape[-1], lowest=0)
        log_probabilities[..., list(self.words)] = -inf


@dataclass(frozen=True)
class Must:
    """All of some words are said, within the first `by` words of the caption."""

    words: tuple[int, ...]
    by: int

    def apply(self, log_probabilities: Floats, history: Integers) -> None:
        """Forbid the end where a word is missing, and all others where only those missing still fit."""
        _check(self.words, log_probabilities.shape[-1], lowest=len(SPECIALS))
        missing = ~(history[..., None] == np.array(self.words)).any(axis=-2)  # [clips, beam, words]
        count = missing.sum(axis=-1)
        log_probabilities[count > 0, END] = -inf
        for clip, row in np.argwhere((count > 0) & (self.by - (history.shape[-1] - 1) <= count)):
            wanted = np.array(self.words)[missing[clip, row]]
            kept = log_probabilities[clip, row, wanted]
            log_probabilities[clip, row] = -inf
            log_probabilities[clip, row, wanted] = kept


@dataclass(frozen=True)
class AnyOf:
    """A caption does not end before it has one of some words."""

    words: tuple[int, ...]

    def apply(self, log_probabilities: Floats, history: Integers) -> None:
        """Forbid the end."""
        _check(self.words, log_probabilities.shape[-1], lowest=len(SPECIALS))
        log_probabilities[~np.isin(history, self.words).any(axis=-1), END] = -inf


@dataclass(frozen=True)
class MinimumWords:
    """A caption does not end before it has so many words."""

    count: int

    def apply(self, log_probabilities: Floats, history: Integers) -> None:
        """Forbid the end."""
        if history.shape[-1] - 1 < self.count:
            log_probabilities[..., END] = -inf


@dataclass(frozen=True)
class MaximumWords:
    """A caption of so many words goes no further."""

    count: int

    def apply(self, log_probabilities: Floats, history: Integers) -> None:
        """Forbid all words."""
        if history.shape[-1] - 1 >= self.count:
            log_probabilities[...] = -inf


@dataclass(frozen=True)
class NoRepeat:
    """No n-gram of so many words stands twice in a caption."""

    size: int

    def apply(self, log_probabilities: Floats, history: Integers) -> None:
        """Forbid the words that would complete an n-gram which the caption holds already."""
        words = history[..., 1:]
        if words.shape[-1] < self.size:
            return
        grams = np.lib.stride_tricks.sliding_window_view(words, self.size, axis=-1)  # [clips, beam, at, size]
        beginning = words[..., None, words.shape[-1] - self.size + 1 :]
        clip, row, at = np.nonzero((grams[..., :-1] == beginning).all(axis=-1))
        log_probabilities[clip, row, grams[clip, row, at, -1]] = -inf


def _check(words: tuple[int, ...], vocabulary: int, lowest: int) -> None:
    for word in words:
        if not isinstance(word, int | np.integer) or not lowest <= word < vocabulary:
            raise UsageError(
                f"A rule of search names words by their ids, from {lowest} to {vocabulary - 1}, not "
                f"{word!r}; the vocabulary's `encode` gives them."
            )


def rules_of(decoding: Decoding) -> Sequence[Rule]:
    """Return the rules that the settings of a search stand for."""
    rules: list[Rule] = [Never((PAD, START, UNKNOWN)), MaximumWords(decoding.maximum_words)]
    if decoding.no_repeat:
        rules.append(NoRepeat(decoding.no_repeat))
    if decoding.minimum_words:
        rules.append(MinimumWords(decoding.minimum_words))
    return rules
