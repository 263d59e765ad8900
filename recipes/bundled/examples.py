"""Training examples that people wrote: what a clip sounds of, beside its caption.

Raters ticked few of the labels that hold for a clip, and a caption tells more: whether a man or a woman
speaks, and what comes before what. So an example's labels are those ticked and those its caption speaks of.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from otoscribe.model.adapters.evidence import CLASSES
from recipes.bundled.corpus import Clip, Pair
from recipes.bundled.lexicon import Lexicon

SPOKEN_OF = 0.5
"""Probability from which a caption is taken to speak of a class."""
MENTIONED = 0.4
"""Probability from which a caption counts as speaking of a class that holds, and share of a clip's captions
from which all of them do."""
POSSIBLE = 0.1
"""Probability below which a class is not drawn for a clip that nobody labelled."""
SIDE, TIMES = 0.25, 2.5
"""A class belongs to one side of "followed by" if that side speaks of it with probability SIDE, and TIMES as
probably as the other side does."""
LONGEST = 30
"""Words of the longest caption that is trained on."""

MALE_VOICE, FEMALE_VOICE = "male", "female"
EARLIER, LATER = 1, 2
BRIEF, DETAILED = 0, 1
"""Styles: AudioCaps' way of writing and Clotho's."""

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
    """Classes that the caption may speak of."""
    voices: tuple[str, ...]
    """MALE_VOICE, FEMALE_VOICE, both or neither."""
    times: dict[int, int]
    """EARLIER or LATER, for classes that the caption puts in an order."""
    ordered: bool
    """Whether the caption says what comes before what."""
    style: int


def make(clips: Sequence[Clip], classes: dict[str, int], lexicon: Lexicon, style: int) -> list[Example]:
    """Make an example of every caption.

    Args:
        clips: with captions, and labels if known.
        classes: index of every class by its mid.
        lexicon: which classes a caption speaks of.
        style: BRIEF or DETAILED.
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
                    ordered=bool(_THEN.search(caption.lower()) or _AFTER.search(caption.lower())),
                    style=style,
                )
            )
    return examples


def voices_in(caption: str) -> set[str]:
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


def labels_of(
    pairs: Sequence[Pair],
    ticked: Mapping[str, Sequence[str]],
    classes: dict[str, int],
    lexicon: Lexicon | None,
) -> dict[int, tuple[frozenset[int], frozenset[int]]]:
    """Return the labels of the recordings that raters labelled, by their index, and those spoken of.

    Args:
        pairs: recordings.
        ticked: mids that raters ticked, by the clip's id.
        classes: index of every class by its mid.
        lexicon: adds what the captions speak of; None: what was ticked is all, and all of it spoken of.
    """
    found = {}
    for index, pair in enumerate(pairs):
        if pair.clip_id not in ticked:
            continue
        if lexicon is None:
            labels = frozenset(classes[mid] for mid in ticked[pair.clip_id] if mid in classes)
            found[index] = (labels, labels)
            continue
        clip = Clip(pair.clip_id, pair.captions, tuple(ticked[pair.clip_id]))
        made = make([clip], classes, lexicon, BRIEF)
        labels = frozenset[int]().union(*(example.labels for example in made))
        shares = {
            label: sum(example.probabilities.get(label, 0.0) > MENTIONED for example in made) / len(made)
            for label in labels
        }
        found[index] = (labels, frozenset(label for label in labels if shares[label] >= MENTIONED))
    return found
