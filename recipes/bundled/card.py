"""The card of the bundled model: `card.md` with the figures of this very run."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from otoscribe.model.adapters.label_set import LabelSetSettings
from otoscribe.train.history import best_epoch, read_log
from otoscribe.train.settings import ExperimentSettings
from recipes.bundled.corpus import Pair
from recipes.bundled.examples import Example

CORPORA = {
    "audiocaps": "AudioCaps",
    "audiocaps2": "AudioCaps 2",
    "clotho": "Clotho",
    "musiccaps": "MusicCaps",
}
"""Names of the corpora from which the recordings come."""


def text(
    *,
    training: Sequence[Example],
    held_out: Sequence[Example],
    recordings: Sequence[Pair],
    labelled: int,
    settings: ExperimentSettings,
    log: Path,
    table: str,
) -> str:
    """Return the card.

    Args:
        training: examples that were trained on.
        held_out: examples on which epoch and decoding were chosen.
        recordings: those that captions were compared on.
        labelled: how many of them calibrate the model.
        settings: of the run.
        log: the run's log.csv.
        table: how good the captions are.
    """
    history = read_log(log)
    best = best_epoch(history)
    adapter = settings.model.adapter
    assert isinstance(adapter, LabelSetSettings)
    corpora = Counter(CORPORA[pair.corpus] for pair in recordings)
    figures = {
        "SETS": f"{adapter.sets:,}",
        "STEPS": f"{best.steps:,}",
        "EPOCHS": str(len(history)),
        "BEST": str(best.epoch),
        "LOSS": f"{best.validation_loss:.3f}",
        "TRAINING": settings.training.model_dump_json(indent=2),
        "AUDIOCAPS": f"{sum(example.style == 0 for example in training):,}",
        "CLOTHO": f"{sum(example.style == 1 for example in training):,}",
        "LABELLED": str(labelled),
        "RECORDINGS": str(len(recordings)),
        "CORPORA": ", ".join(f"{count} of {name}" for name, count in corpora.items()),
        "HELD_OUT": str(len({example.clip for example in held_out})),
        "TABLE": table,
    }
    template = (Path(__file__).parent / "card.md").read_text(encoding="utf-8")
    return re.sub("@([A-Z_]+)@", lambda place: figures[place[1]], template)
