"""Search for captions that name what is heard, and nothing else.

Likely captions are short and leave out what a listener would mention. So each clip is searched twice: as the
model would write, and once more for captions that join a second sound. Of all that are found, the best names
what stands out and speaks of nothing that is not heard.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from otoscribe.bundle.bundle import EncodedClip
from otoscribe.bundle.manifest import Signs
from otoscribe.listen.support import named, unsupported
from otoscribe.search.beam import Hypothesis, search
from otoscribe.search.options import Search
from otoscribe.search.rules import AnyOf, Rule
from otoscribe.search.stepper import Stepper
from otoscribe.text.vocabulary import UNKNOWN, Vocabulary

State = TypeVar("State")

JOINING = "and as followed then while"
"""Words that a second sound follows."""
WIDER = 2
"""How many times the beam is kept in the search for a second sound."""
NAMED, UNSUPPORTED = 0.6, 0.5
"""What a caption's score gains by each nat of evidence that it names, and loses by a word without support."""


class Ground(NamedTuple):
    """What is known of a clip's sounds; see `bundle.EncodedClip`."""

    support: NDArray[np.float32]
    """[classes]."""
    salience: NDArray[np.float32]
    """[sounds, classes]."""

    @classmethod
    def of(cls, clip: EncodedClip) -> "Ground | None":
        """Return what is known of a clip's sounds, None if nothing is."""
        if clip.support is None or clip.salience is None:
            return None
        return cls(clip.support, clip.salience)

    def merit(self, words: Sequence[str]) -> float:
        """Return what a caption's score gains by what its words name."""
        return NAMED * named(words, self.salience) - UNSUPPORTED * unsupported(words, self.support)

    def signs(self, words: Sequence[str], token_log_probability: float) -> Signs:
        """Return the signs that a caption names a sound which is there.

        They are a constant 1; its log-probability a token; how much it names of the sound with most evidence,
        and of the others; how much there is to name of the first; and its words without support.

        Args:
            words: of the caption.
            token_log_probability: mean over its words and the end.
        """
        first, all_ = named(words, self.salience[:1]), named(words, self.salience)
        most, false = float(self.salience[0].max()), float(unsupported(words, self.support))
        return 1.0, token_log_probability, first, all_ - first, most, false


def chance(weights: Signs, signs: Signs) -> float:
    """Return the probability that a caption names a sound which is there, in (0, 1)."""
    return float(1.0 / (1.0 + np.exp(-np.clip(np.dot(weights, signs), -30.0, 30.0))))


def grounded_search(
    stepper: Stepper[State],
    grounds: Sequence[Ground],
    vocabulary: Vocabulary,
    settings: Search,
    rules: Sequence[Rule] = (),
) -> list[list[Hypothesis]]:
    """Find each clip's best captions, by score and merit.

    Args:
        stepper: the model, holding the clips.
        grounds: one for each clip.
        vocabulary: the model's words.
        settings: the kind of search.
        rules: what is forbidden besides.

    Returns:
        As `search.beam.search`; see there.
    """
    found = search(stepper, _all_of(settings, settings.beam), rules)
    joining = tuple(word for word in vocabulary.encode(JOINING) if word != UNKNOWN)
    joined = (
        search(stepper, _all_of(settings, WIDER * settings.beam), [*rules, AnyOf(joining)])
        if joining
        else [[] for _ in found]
    )
    return [
        _best(*parts, vocabulary)[: settings.candidates] for parts in zip(grounds, found, joined, strict=True)
    ]


def _best(
    ground: Ground, found: Sequence[Hypothesis], joined: Sequence[Hypothesis], vocabulary: Vocabulary
) -> list[Hypothesis]:
    """Rank what was found, and of what joins a second sound that which thereby names more."""

    def words(hypothesis: Hypothesis) -> list[str]:
        return [vocabulary.words[token] for token in hypothesis.tokens]

    def merit(hypothesis: Hypothesis) -> float:
        return hypothesis.score + ground.merit(words(hypothesis))

    best = sorted(found, key=merit, reverse=True)
    enough = named(words(best[0]), ground.salience) if best else 0.0
    known = {hypothesis.tokens for hypothesis in found}
    more = [
        hypothesis
        for hypothesis in joined
        if hypothesis.tokens not in known and named(words(hypothesis), ground.salience) > enough
    ]
    return sorted([*best, *more], key=merit, reverse=True)


def _all_of(settings: Search, beam: int) -> Search:
    return settings.model_copy(update={"beam": beam, "candidates": beam})
