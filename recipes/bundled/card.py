"""The card of a bundled model: `card.md` with the figures of this very run."""

import re
from collections.abc import Sequence
from pathlib import Path

from otoscribe.train.history import best_epoch, read_log
from otoscribe.train.settings import ExperimentSettings
from recipes.bundled.examples import BRIEF, Example

TERMS = """**Its weights are for research and other non-commercial use only**: it learned to write from
captions of AudioCaps, which are for "academic purposes only", and of Clotho, which has a licence of its
own."""
FREE_TERMS = """**Its weights may be used for any purpose**, with YAMNet (Apache License 2.0) and AudioSet
(CC BY 4.0) named: it learned to write from otoscribe's own phrase book. No caption of others is in it."""
CAPTIONS = (
    "| AudioCaps captions, training split, @AUDIOCAPS@ (Kim et al., 2019) | learning to write | "
    'MIT, "academic purposes only" |\n'
    "| Clotho v2.1 captions, development split, @CLOTHO@ (Drossos et al., 2020) | learning to write | "
    "Clotho's own licence |\n"
)


def text(
    free: bool,
    training: Sequence[Example],
    held_out: Sequence[Example],
    settings: ExperimentSettings,
    log: Path,
    table: str,
    reliability: str,
) -> str:
    """Return the card.

    Args:
        free: whether no caption of others was learned from.
        training: captions that were learned from.
        held_out: captions of the clips on whose labels decoding was chosen.
        settings: of the run.
        log: the run's log.csv.
        table: how good the captions are.
        reliability: how often they name what is to be heard, by their confidence.
    """
    history = read_log(log)
    best = best_epoch(history)
    figures = {
        "TERMS": FREE_TERMS if free else TERMS,
        "CAPTIONS": "" if free else CAPTIONS,
        "STEPS": f"{best.steps:,}",
        "EPOCHS": str(len(history)),
        "BEST": str(best.epoch),
        "LOSS": f"{best.validation_loss:.3f}",
        "TRAINING": settings.training.model_dump_json(indent=2),
        "AUDIOCAPS": f"{sum(example.style == BRIEF for example in training):,}",
        "CLOTHO": f"{sum(example.style != BRIEF for example in training):,}",
        "HELD_OUT": str(len({example.clip for example in held_out})),
        "NAME": "otoscribe-free-1" if free else "otoscribe-small-2",
        "TABLE": table,
        "RELIABILITY": reliability,
    }
    filled = (Path(__file__).parent / "card.md").read_text(encoding="utf-8")
    for _ in range(2):  # what is filled in has places of its own
        filled = re.sub("@([A-Z_]+)@", lambda place: figures[place[1]], filled)
    return filled
