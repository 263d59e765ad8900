"""Captions composed from the phrase book as scenes, most of them of classes that people seldom wrote of."""

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from otoscribe.model.adapters.evidence import CLASSES, SPEECH
from otoscribe.text.phrase_book import phrase_book
from recipes.bundled.channel import SILENCE
from recipes.bundled.examples import (
    BRIEF,
    DETAILED,
    EARLIER,
    FEMALE_VOICE,
    LATER,
    MALE_VOICE,
    Example,
)
from recipes.bundled.measure import Measured
from recipes.bundled.relations import MUSIC, Relations, families
from recipes.bundled.scene import Scene

SURROUNDINGS = frozenset({*range(500, 507), 508, 516, 517, 520, 498, 456, 457, 458, 491, 512})
"""Rooms, echoes and effects, which are seldom what a caption is about."""
COUNTS = (0.45, 0.42, 0.13)
"""Shares of captions about one, two and three sounds."""
ORDERED = 0.12
"""Share of captions about two sounds that say which came first."""
COMPANION = 0.6
"""Share of further sounds that often go with the first; the others are any."""
UNSPOKEN = 0.35
"""Share of captions whose clip has one more sound, which is not mentioned."""
FREQUENCY, COMMON = 0.3, 20_000.0
"""How much more often common sounds come than rare ones: as this power of their AudioSet clips, to COMMON."""
ENOUGH = 60.0
"""Captions of people's about a class that halve its need of composed ones."""
WIDER_BELOW, WIDER_OVER = -2.2, 0.4
"""Strength at which four in ten phrases are those of a wider class, and how fast that changes: of a faint
sitar one may hear no more than music."""
NAMED_VOICE = 0.7
"""Share of speaking persons that are called a man or a woman."""
DETAILED_SHARE = 0.2
"""Share of captions in the detailed style."""

_TWO = ("{0} and {1}", "{0} while {1}", "{0} as {1}", "{0} while {1} in the background")
_THREE = ("{0} while {1} and {2}", "{0} and {1} while {2}", "{0} as {1} and {2}")
_ORDERED = ("{0} followed by {1}", "{0} then {1}", "{0} and then {1}")
_SPEAKS = ("speaks", "is speaking", "talks", "is talking")


class Composer:
    """Composes captions.

    Args:
        relations: of the classes.
        measured: on real recordings.
        written: captions of people, whose classes need fewer composed ones; none for a model that learned
            from none.
    """

    def __init__(self, relations: Relations, measured: Measured, written: Sequence[Example]) -> None:
        self.given = relations.given
        self.related = families(relations, measured.alike.double().numpy())
        self.implied = [
            [c for c in relations.implied_by(sound) if c not in (SPEECH, 398)] for sound in range(CLASSES)
        ]
        self.is_music = (relations.given[:, MUSIC] > 0.6) | (np.arange(CLASSES) == MUSIC)
        self.high, self.loud = measured.high.tolist(), measured.spoken.tolist()
        self.weight = _weights(relations, written)
        self.companions, self.accompanied = self._companions()

    def _companions(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return with what a class is heard, of no relation of its own, [classes, classes], and if it is."""
        shares = np.where(self.related, 0.0, self.given)
        shares[:, [*SURROUNDINGS, SILENCE]] = 0.0
        totals = shares.sum(axis=1)
        return shares.cumsum(axis=1) / np.maximum(totals[:, None], 1e-9), totals > 0

    def draw(self, draw: random.Random) -> Scene:
        """Compose one caption."""
        labels = self._labels(draw)
        strengths = {
            label: max(draw.gauss(self.loud[0], self.loud[1]), self.high[label] + 1.5 * draw.random())
            for label in labels
        }
        several = sum(bool(self.is_music[label]) for label in labels) > 1
        phrases, voices = [], []
        for label in labels:
            # Two instruments called "music" would be one.
            clear = several and self.is_music[label]
            phrase, voice = self._phrase(label, 9.0 if clear else strengths[label], draw)
            phrases.append(phrase)
            voices += voice
        caption, times = _joined(labels, phrases, draw)
        spoken = frozenset(labels)
        if draw.random() < UNSPOKEN and labels[0] != SILENCE and self.accompanied[labels[0]]:
            more = self._companion(labels[0], draw)
            if not self.related[more, labels].any():
                labels.append(more)
        style = DETAILED if draw.random() < DETAILED_SHARE else BRIEF
        return Scene(tuple(labels), spoken, caption, style, tuple(voices), times, strengths)

    def _labels(self, draw: random.Random) -> list[int]:
        labels = [_pick(self.weight, draw)]
        (count,) = draw.choices((1, 2, 3), COUNTS)
        if labels[0] == SILENCE:
            return labels
        for _ in range(20):
            if len(labels) == count:
                break
            likely = self.accompanied[labels[0]] and draw.random() < COMPANION
            label = self._companion(labels[0], draw) if likely else _pick(self.weight, draw)
            doubled = label == MUSIC and self.is_music[labels].any()
            if label != SILENCE and not doubled and not self.related[label, labels].any():
                labels.append(label)
        draw.shuffle(labels)
        return labels

    def _companion(self, label: int, draw: random.Random) -> int:
        return _pick(self.companions[label], draw)

    def _phrase(self, label: int, strength: float, draw: random.Random) -> tuple[str, list[str]]:
        """Put a class into words, of a wider class where its evidence is weak; and say whose voice speaks."""
        if label == SPEECH and draw.random() < NAMED_VOICE:
            voice = draw.choice((MALE_VOICE, MALE_VOICE, FEMALE_VOICE))
            return f"a {'man' if voice == MALE_VOICE else 'woman'} {draw.choice(_SPEAKS)}", [voice]
        usual = 0.1 if self.is_music[label] else 0.05
        weak = 0.8 / (1.0 + np.exp((strength - WIDER_BELOW) / WIDER_OVER))
        if self.implied[label] and draw.random() < max(usual, weak):
            label = draw.choice(self.implied[label])
        return draw.choice(phrase_book()[label].captions), []


def sayings() -> list[str]:
    """Return texts with every word that a composed caption may have."""
    forms = [form.format("", "", "") for form in (*_TWO, *_THREE, *_ORDERED)]
    persons = [f"a {who} {speaks}" for who in ("man", "woman") for speaks in _SPEAKS]
    return [phrase for sound in phrase_book() for phrase in sound.captions] + forms + persons


def _joined(labels: list[int], phrases: list[str], draw: random.Random) -> tuple[str, dict[int, int]]:
    """Join phrases to a caption, and say which sound must come first for it to be true."""
    if len(labels) == 2 and draw.random() < ORDERED:
        return draw.choice(_ORDERED).format(*phrases), {labels[0]: EARLIER, labels[1]: LATER}
    forms = {1: ("{0}",), 2: _TWO, 3: _THREE}[len(labels)]
    return draw.choice(forms).format(*phrases), {}


def _pick(cumulative: NDArray[np.float64], draw: random.Random) -> int:
    return min(int(np.searchsorted(cumulative, draw.random(), side="right")), CLASSES - 1)


def _weights(relations: Relations, written: Sequence[Example]) -> NDArray[np.float64]:
    """Return how often each class comes first, cumulated, [classes]."""
    counts = np.zeros(CLASSES)
    for example in written:
        counts[list(example.labels)] += 1.0
    weight = relations.clips.clip(1.0, COMMON) ** FREQUENCY / (1.0 + relations.implying() / 2.0)
    weight[list(SURROUNDINGS)] *= 0.3
    vague = [sound.captions[0].startswith("something") for sound in phrase_book()]
    weight = np.where(vague, 0.35, 1.0) * weight
    weight[MUSIC], weight[SILENCE] = weight.max(), 4.0 * weight[SILENCE]
    needed = 0.15 + 0.85 / (1.0 + counts / ENOUGH)
    needed[MUSIC] = 1.0
    cumulative: NDArray[np.float64] = np.cumsum(weight * needed) / np.sum(weight * needed)
    return cumulative
