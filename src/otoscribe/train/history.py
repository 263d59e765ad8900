"""What the epochs of a run gave, which of them is the best, and when training stops."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from otoscribe.errors import RunError
from otoscribe.settings import Frozen
from otoscribe.train.settings import TrainingSettings


class Epoch(Frozen):
    """What one epoch gave."""

    epoch: int
    """From 1."""
    steps: int
    """Steps of the optimiser since the run began."""
    training_loss: float
    """Cross-entropy per token, natural logarithm, mean over the epoch while the weights changed; with label
    smoothing, if there is any."""
    validation_loss: float
    """Cross-entropy per token on the validation split after the epoch, without label smoothing."""


def best_epoch(history: Sequence[Epoch]) -> Epoch:
    """Return the first epoch of the lowest validation loss."""
    return min(history, key=lambda epoch: epoch.validation_loss)


def finished(history: Sequence[Epoch], training: TrainingSettings) -> bool:
    """Say whether training stops after these epochs."""
    if not history:
        return False
    last = history[-1].epoch
    return last >= training.maximum_epochs or last - best_epoch(history).epoch >= training.patience


def log_text(history: Sequence[Epoch]) -> str:
    """Return the epochs as CSV, from which `read_log` reads the same numbers to the bit."""
    text = io.StringIO()
    writer = csv.DictWriter(text, Epoch.model_fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(epoch.model_dump() for epoch in history)
    return text.getvalue()


def read_log(path: Path) -> list[Epoch]:
    """Read what `log_text` wrote.

    Raises:
        RunError: the file is missing or damaged, or holds no epoch.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
        if not rows:
            raise ValueError("no epochs")
        return [Epoch.model_validate_strings(row) for row in rows]
    except (OSError, ValueError, csv.Error) as error:  # pydantic's and UTF-8's are ValueErrors
        raise RunError(
            f"{path} is missing or damaged. "
            f"Restore it from a copy, or delete the run's folder and train again."
        ) from error
