"""Captions that people wrote as scenes: which of their labels, times and voices are heard this time."""

import random

from recipes.bundled.channel import MOST
from recipes.bundled.examples import BRIEF, FEMALE_VOICE, MALE_VOICE, MENTIONED, Example
from recipes.bundled.scene import Scene

KNOWN_VOICE, WRONG_VOICE = 0.75, 0.05
"""Chances that the voices which a caption or a rater names are heard so, or as the other's."""


def scene_of(example: Example, draw: random.Random) -> Scene:
    """Draw a scene of an example.

    Nobody labelled Clotho's clips: which classes a caption may speak of is drawn anew each time.
    """
    if example.style == BRIEF:
        labels = list(example.labels)
    else:
        labels = [label for label, p in example.probabilities.items() if draw.random() < p]
    if len(labels) > MOST:
        labels = sorted(draw.sample(labels, MOST))
    spoken = frozenset(label for label, p in example.probabilities.items() if p > MENTIONED)
    return Scene(
        labels=tuple(labels),
        spoken=spoken & frozenset(labels),
        caption=example.caption,
        style=example.style,
        voices=_voices(example.voices, draw.random()),
        times=example.times,
    )


def _voices(named: tuple[str, ...], drawn: float) -> tuple[str, ...]:
    if drawn < KNOWN_VOICE:
        return named
    if drawn < KNOWN_VOICE + WRONG_VOICE and len(named) == 1:
        return (FEMALE_VOICE if named[0] == MALE_VOICE else MALE_VOICE,)
    return ()
