"""The recordings of the test material → what is learned from, what chooses the epoch, what is reported."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from checks.material import Recording
from otoscribe.text.vocabulary import words_of

Part = Literal["training", "validation", "evaluation"]
PARTS: tuple[Part, ...] = ("training", "validation", "evaluation")

LEARNED = ("train", "development", "val", "validation")
"""Splits, as the corpora call them, that are learned from and validated with."""


def split(recordings: Iterable[Recording]) -> dict[Part, list[Recording]]:
    """Put each recording into one part, or none if its corpus has no splits.

    The corpora's test splits are evaluated. A hash of its id alone puts about a quarter of the others into
    validation, so that nobody chooses it and no later recording moves it. A caption that a recording
    of a later part has too is left out, and so is a recording without any other; nothing is left out
    of evaluation.
    """
    parts: dict[Part, list[Recording]] = {part: [] for part in PARTS}
    for recording in recordings:
        if recording.split == "test":
            parts["evaluation"].append(recording)
        elif recording.split in LEARNED:
            chosen = hashlib.sha256(recording.clip_id.encode()).digest()[0] % 4 == 0
            parts["validation" if chosen else "training"].append(recording)
    taken: set[tuple[str, ...]] = set()
    for part in reversed(PARTS):
        own = [
            replace(recording, captions=kept)
            for recording in parts[part]
            if (kept := tuple(text for text in recording.captions if tuple(words_of(text)) not in taken))
        ]
        taken |= {tuple(words_of(text)) for recording in own for text in recording.captions}
        parts[part] = own
    return parts
