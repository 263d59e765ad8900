"""What the words of a caption name: sounds that are heard, or that are not.

A word names the classes in whose phrases it stands (`text.phrase_book`), whatever its ending; those of the
short list below name none.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from otoscribe.text.phrase_book import phrase_book
from otoscribe.text.vocabulary import words_of

NO_NAMES = frozenset(
    words_of(
        "a an and are as at being by down from in into is it its of off on or out over some that the their "
        "then through to up while with someone something person people man woman men women animal sound "
        "noise heard make makes play plays playing run runs running move moves moving go goes going use used "
        "large small loud loudly soft high low fast slow short long several times other another two three "
        "background nearby distance object objects surface hard instrument around past time"
    )
)
"""Words that say little of what is heard, though some phrases have them."""
MOST_CLASSES = 12
"""Classes with a word, above which it says too little of each to be false."""
_ENDING = re.compile(r"(?<=...)(ing|es|ed|s|e)$")


def unsupported(words: Iterable[str], support: NDArray[np.float32]) -> int:
    """Count the words of a caption that name sounds, none of which is heard.

    Args:
        words: of the caption.
        support: of every class, below 0 where neither it nor a relative is heard, [classes].
    """
    return sum(
        len(classes) <= MOST_CLASSES and bool((support[classes] < 0.0).all()) for classes in _classes(words)
    )


def named(words: Iterable[str], salience: NDArray[np.float32]) -> float:
    """Return how much of what a caption should name its words name.

    Args:
        words: of the caption.
        salience: of each sound, at the classes by whose words it is named, [sounds, classes].
    """
    classes = list(_classes(words))
    return float(salience[:, np.concatenate(classes)].max(axis=1).sum()) if classes else 0.0


def _classes(words: Iterable[str]) -> Iterator[NDArray[np.int64]]:
    """Yield the classes of every word that names any."""
    for word in sorted(set(words) - NO_NAMES):
        if (stem := _stem(word)) in _named():
            yield _named()[stem]


@cache
def _named() -> Mapping[str, NDArray[np.int64]]:
    """Return the classes that every word names, by its stem."""
    classes: dict[str, set[int]] = defaultdict(set)
    for number, sound in enumerate(phrase_book()):
        for word in words_of(" ".join((sound.name, *sound.captions, sound.sustained, sound.abrupt))):
            if word not in NO_NAMES:
                classes[_stem(word)].add(number)
    return {stem: np.array(sorted(of)) for stem, of in classes.items()}


def _stem(word: str) -> str:
    return _ENDING.sub("", word)
