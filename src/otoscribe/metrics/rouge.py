"""ROUGE-L, the longest common subsequence of a caption and its references (Lin 2004, section 3).

What is exact here is the number that the captioning field reports, that of pycocoevalcap's `rouge`: precision
and recall are the best over the references, each by itself, and a text without a word is one empty word.
"""

from collections.abc import Sequence

import numpy as np

from otoscribe.metrics import ngrams
from otoscribe.metrics.ngrams import Floats

BETA = 1.2
"""How much more recall weighs than precision."""


class RougeL:
    """Scores captions against the references of one evaluated set.

    Args:
        references: clips x references x tokens, as the tokeniser gave them. Each clip needs one reference or
            more; they may differ in number.

    Raises:
        UsageError: there is no clip, a clip has no reference, or a text stands where tokens should.
    """

    def __init__(self, references: Sequence[Sequence[Sequence[str]]]) -> None:
        ngrams.flattened(references)
        self._references = [[list(text) or [""] for text in clip] for clip in references]

    def score(self, candidates: Sequence[Sequence[str]]) -> Floats:
        """Score one caption per clip.

        Args:
            candidates: clips x tokens, in the order of the references.

        Returns:
            Each clip's score, 0 to 1, [clips]. The field reports the mean for a corpus.

        Raises:
            UsageError: there are more or fewer captions than clips, or a text stands where tokens should.
        """
        ngrams.require_one_each(candidates, len(self._references))
        return np.array(
            [_score(text or [""], clip) for text, clip in zip(candidates, self._references, strict=True)]
        )


def _score(candidate: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    common = _common(candidate, references)
    precision = max(common) / len(candidate)
    recall = max(length / len(text) for length, text in zip(common, references, strict=True))
    if not recall:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def _common(candidate: Sequence[str], references: Sequence[Sequence[str]]) -> list[int]:
    """Return the length of the longest common subsequence with each reference.

    A row of the usual table rises by 0 or 1 from word to word. It is held as one integer, whose zero bits are
    the rises, and an addition moves all of them at once (Hyyrö 2004, "Bit-parallel LCS-length computation
    revisited"): ten thousand words against as many take milliseconds, and no table.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(candidate):
        places[word] = places.get(word, 0) | 1 << place
    everywhere = (1 << len(candidate)) - 1
    lengths = []
    for reference in references:
        row = everywhere
        for word in reference:
            if word in places:
                moved = row & places[word]
                row = (row + moved) | (row - moved)
        # Carries that left the row stand above it.
        lengths.append(len(candidate) - (row & everywhere).bit_count())
    return lengths
