"""Which classes go together, by raters' labels of 2 million AudioSet clips: no sound, and no caption."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from otoscribe.model.adapters.evidence import SPEECH
from recipes.bundled import corpus

MUSIC = 132
"""Index of the class "Music"."""
IMPLIED = 0.6
"""Share of a class's clips from which another label is one that it implies, as "Bark" does "Dog"."""
RELATED = 0.5
"""The same, from which two classes are of one family and no caption names both."""


@dataclass(frozen=True)
class Relations:
    """Relations of the 521 classes.

    Args:
        given: P(c | d), the share of clips with class d that have class c too, [d, c]; 1 on the diagonal.
        clips: how many AudioSet clips have the class, [classes].
    """

    given: NDArray[np.float64]
    clips: NDArray[np.float64]

    @classmethod
    def read(cls, data: Path) -> "Relations":
        """Count how often two labels stand on the same clip."""
        mids = list(corpus.class_names(data))
        counts = corpus.cooccurrence(data)
        both = np.array([[counts.get((d, c), 0) for c in mids] for d in mids], dtype=np.float64)
        given = both / np.maximum(both.diagonal()[:, None], 1.0)
        np.fill_diagonal(given, 1.0)
        return cls(given, both.diagonal().copy())

    def implied_by(self, sound: int) -> list[int]:
        """Return the wider classes of a class: "Dog" and "Animal" for "Bark"."""
        return [int(c) for c in np.flatnonzero(self.given[sound] > IMPLIED) if c != sound]

    def implying(self) -> NDArray[np.int64]:
        """Return how many classes imply each class, [classes]: many for "Animal", none for "Bark"."""
        counts: NDArray[np.int64] = (self.given > IMPLIED).sum(axis=0) - 1
        return counts


def families(relations: Relations, alike: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which classes are related, as either implies the other or raises it, bool [classes, classes].

    That half of all clips have speech makes nothing a relation of speech; music is one of instruments only.

    Args:
        relations: of the classes.
        alike: `measure.Measured.alike`, [d, c].
    """
    given = relations.given.copy()
    given[:, SPEECH] = 0.0
    given[given[:, MUSIC] < IMPLIED, MUSIC] = 0.0
    related: NDArray[np.bool_] = np.maximum(given, alike) > RELATED
    related |= related.T
    np.fill_diagonal(related, True)
    return related
