"""Training examples of the words half: what a clip sounds of, beside what a person wrote.

Raters ticked few of the labels that hold for a clip, and a caption tells more: whether a man or a woman
speaks, and what comes before what. So an example's labels are those ticked and those its caption speaks of.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from otoscribe.model.adapters.label_set import CLASSES, EARLIER, FEMALE_VOICE, LATER, MALE_VOICE
from recipes.bundled.corpus import Clip
from recipes.bundled.lexicon import Lexicon

SPOKEN_OF = 0.5
"""Probability from which a caption is taken to speak of a class."""
POSSIBLE = 0.1
"""Probability below which a class is not drawn for a clip that nobody labelled."""
SIDE, TIMES = 0.25, 2.5
"""A class belongs to one side of "followed by" if that side speaks of it with probability SIDE, and TIMES as
probably as the other side does."""
LONGEST = 30
"""Words of the longest caption that is trained on."""

VOICES = {"/m/05zppz": MALE_VOICE, "/m/02zsn": FEMALE_VOICE}
"""AudioSet's classes of male and female speech, which YAMNet's 521 lack."""

_MALE = re.compile(r"\b(man|male|males|men|guy|mans|man's|gentleman)\b")
_FEMALE = re.compile(r"\b(woman|female|females|women|lady|ladies|womans|woman's)\b")
_THEN = re.compile(r"\b(?:followed by|and then|then|before)\b")
_AFTER = re.compile(r"\bafter\b")


@dataclass(frozen=True)
class Example:
    """One caption and what is known of its clip."""

    clip: int
    """Index of the clip."""
    caption: str
    labels: tuple[int, ...]
    """Classes ticked or spoken of, sorted."""
    probabilities: dict[int, float]
    """Classes that the caption may speak of, where nobody ticked any."""
    voices: tuple[int, ...]
    """MALE_VOICE, FEMALE_VOICE, both or neither."""
    times: dict[int, int]
    """EARLIER or LATER, for classes that the caption puts in an order."""
    style: int


def make(clips: Sequence[Clip], classes: dict[str, int], lexicon: Lexicon, style: int) -> list[Example]:
    """Make an example of every caption.

    Args:
        clips: with captions, and labels if known.
        classes: index of every class by its mid.
        lexicon: which classes a caption speaks of.
        style: index of the corpus.
    """
    examples = []
    for index, clip in enumerate(clips):
        ticked = {classes[mid] for mid in clip.mids if mid in classes}
        spoken_by = {VOICES[mid] for mid in clip.mids if mid in VOICES}
        for caption in clip.captions:
            probability = lexicon.probabilities(caption)
            named = {int(label) for label in np.flatnonzero(probability > SPOKEN_OF)}
            possible = np.flatnonzero(probability > POSSIBLE)
            examples.append(
                Example(
                    clip=index,
                    caption=caption,
                    labels=tuple(sorted(ticked | named)),
                    probabilities={int(label): float(probability[label]) for label in possible},
                    voices=tuple(sorted(spoken_by | voices_in(caption))),
                    times=times_in(caption, lexicon),
                    style=style,
                )
            )
    return examples


def voices_in(caption: str) -> set[int]:
    """Return whose voices a caption speaks of."""
    text = caption.lower()
    return {voice for voice, words in ((MALE_VOICE, _MALE), (FEMALE_VOICE, _FEMALE)) if words.search(text)}


def times_in(caption: str, lexicon: Lexicon) -> dict[int, int]:
    """Return which classes a caption puts before others, and which after; nothing if it orders none."""
    text = caption.lower()
    if parted := _THEN.search(text):
        first, second = text[: parted.start()], text[parted.end() :]
    elif parted := _AFTER.search(text):
        second, first = text[: parted.start()], text[parted.end() :]
    else:
        return {}
    if len(first.split()) < 2 or len(second.split()) < 2:
        return {}
    before, after = lexicon.probabilities(first), lexicon.probabilities(second)
    times = {}
    for label in range(CLASSES):
        if before[label] > SIDE and before[label] > TIMES * after[label]:
            times[label] = EARLIER
        elif after[label] > SIDE and after[label] > TIMES * before[label]:
            times[label] = LATER
    return times
