"""Search for captions that name what is heard, and nothing else.

Likely captions are short and leave out what a listener would mention. So each clip is searched twice: as the
model would write, and once more for captions that join a second sound. Of all that are found, the best names
what stands out and speaks of nothing that is not heard.
"""

from collections.abc import Sequence
from dataclasses import dataclass
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
    judges = [_Judge(ground, vocabulary) for ground in grounds]
    ranked = [judge.ranked(part) for judge, part in zip(judges, found, strict=True)]
    # Nothing names more than what names all, so most single sounds need no second search.
    if joining and any(judge.leaves_out(part) for judge, part in zip(judges, ranked, strict=True)):
        joined = search(stepper, _all_of(settings, WIDER * settings.beam), [*rules, AnyOf(joining)])
        ranked = [judge.with_more(*parts) for judge, *parts in zip(judges, ranked, joined, strict=True)]
    return [part[: settings.candidates] for part in ranked]


@dataclass(frozen=True)
class _Judge:
    """Ranks a clip's captions."""

    ground: Ground
    vocabulary: Vocabulary

    def ranked(self, hypotheses: Sequence[Hypothesis]) -> list[Hypothesis]:
        """Sort by score and merit, the best first."""
        return sorted(hypotheses, key=lambda one: -one.score - self.ground.merit(self._words(one)))

    def leaves_out(self, ranked: Sequence[Hypothesis]) -> bool:
        """Tell whether the best leaves out what should be named."""
        return bool(ranked) and self._named(ranked[0]) < float(self.ground.salience.max(axis=1).sum())

    def with_more(self, ranked: Sequence[Hypothesis], joined: Sequence[Hypothesis]) -> list[Hypothesis]:
        """Rank what joins a second sound among the others, where it names more than the best of them."""
        enough = self._named(ranked[0]) if ranked else 0.0
        known = {hypothesis.tokens for hypothesis in ranked}
        more = [one for one in joined if one.tokens not in known and self._named(one) > enough]
        return self.ranked([*ranked, *more])

    def _words(self, hypothesis: Hypothesis) -> list[str]:
        return [self.vocabulary.words[token] for token in hypothesis.tokens]

    def _named(self, hypothesis: Hypothesis) -> float:
        return named(self._words(hypothesis), self.ground.salience)


def _all_of(settings: Search, beam: int) -> Search:
    return settings.model_copy(update={"beam": beam, "candidates": beam})
