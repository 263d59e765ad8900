"""Training by the paper's recipe; a killed run goes on to bit-identical results."""

import csv
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor

from otoscribe.errors import RunError, UsageError
from otoscribe.files import write_text
from otoscribe.model.caption_model import CaptionModel
from otoscribe.settings import Frozen, run_id
from otoscribe.text.vocabulary import PAD, Vocabulary
from otoscribe.train.batches import Batch, Split, training_batches, validation_batches
from otoscribe.train.run import (
    RunSettings,
    TrainingSettings,
    claim,
    load_checkpoint,
    save_checkpoint,
    save_tensors,
)


class RuntimeSettings(Frozen):
    """Where a run computes; never part of its id."""

    device: str = "cpu"
    """A torch device, such as cpu or cuda."""
    threads: int | None = Field(default=None, gt=0)
    """Processor threads; None leaves torch's choice."""


class Epoch(Frozen):
    """What one epoch gave."""

    epoch: int
    """From 1."""
    training_loss: float
    """Cross-entropy per token, natural logarithm, mean over the epoch while the weights changed."""
    validation_loss: float
    """The same on the validation split after the epoch."""


def best_epoch(history: Sequence[Epoch]) -> Epoch:
    """Return the first epoch of the lowest validation loss."""
    return min(history, key=lambda epoch: epoch.validation_loss)


def finished(history: Sequence[Epoch], training: TrainingSettings) -> bool:
    """Say whether training stops after these epochs."""
    if not history:
        return False
    last = history[-1].epoch
    return last >= training.maximum_epochs or last - best_epoch(history).epoch >= training.patience


def train(
    settings: RunSettings,
    vocabulary: Vocabulary,
    training: Split,
    validation: Split,
    runs: Path,
    runtime: RuntimeSettings,
    report: Callable[[Epoch], None] = lambda epoch: None,
) -> Path:
    """Train until `finished`, going on from the run's last epoch if there is one.

    Args:
        settings: what to train, and how.
        vocabulary: words of the training captions, by which both splits are encoded.
        training: features and captions to learn from.
        validation: features and captions that choose the epoch.
        runs: folder of all runs.
        runtime: where to compute.
        report: called after every epoch, those of an earlier process included.

    Returns:
        The run's folder.

    Raises:
        RunError: the run exists with other settings, vocabulary or data, is damaged, or its loss is no
            finite number.
        UsageError: there is no such device.
    """
    run = runs / run_id(settings)
    device = _device(runtime)
    claim(run / "settings.json", settings.model_dump_json(indent=2) + "\n")
    claim(run / "vocabulary.json", vocabulary.to_json())
    data = {"training": training.fingerprint(), "validation": validation.fingerprint()}

    torch.manual_seed(settings.training.seed)
    model = CaptionModel(settings.model, vocabulary).to(device)
    options = settings.training
    optimiser = torch.optim.Adam(
        model.parameters(), options.learning_rate, (options.beta1, options.beta2), options.epsilon
    )
    history = _resumed(run / "last.safetensors", model, optimiser, data)
    for epoch in history:
        report(epoch)
    while not finished(history, options):
        history.append(_epoch(model, optimiser, training, validation, options, len(history) + 1))
        if best_epoch(history) is history[-1]:
            save_tensors(run / "model.safetensors", model.state_dict(), history[-1].model_dump())
        notes = {"data": data, "history": [epoch.model_dump() for epoch in history]}
        save_checkpoint(run / "last.safetensors", model, optimiser, notes)
        write_text(run / "log.csv", _log(history))
        report(history[-1])
    write_text(run / "done", f"best epoch {best_epoch(history).epoch} of {len(history)}\n")
    return run


def _device(runtime: RuntimeSettings) -> torch.device:
    if runtime.threads is not None:
        torch.set_num_threads(runtime.threads)
    try:
        device = torch.device(runtime.device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"The device {runtime.device!r} cannot be used here; cpu always can.") from error
    return device


def _loss(model: CaptionModel, batch: Batch) -> Tensor:
    """Return the cross-entropy summed over the batch's real tokens."""
    memory = model.remember(batch.features, batch.mask)
    total = batch.features.new_zeros(())
    for rows in batch.groups:
        hidden = model.decoder(model.words(rows.tokens), *memory, rows.clip_of_row)
        real = rows.targets != PAD
        logits = model.decoder.logits(hidden[real], model.words.table)
        total = total + torch.nn.functional.cross_entropy(logits.float(), rows.targets[real], reduction="sum")
    return total


def _epoch(
    model: CaptionModel,
    optimiser: torch.optim.Adam,
    training: Split,
    validation: Split,
    options: TrainingSettings,
    number: int,
) -> Epoch:
    device = next(model.parameters()).device
    # Seeded anew each epoch, a resumed run draws the dropout that the uninterrupted one draws.
    torch.manual_seed(options.seed * 1_000_003 + number)
    model.train()
    total, tokens = torch.zeros((), dtype=torch.float64, device=device), 0
    narrow = torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bfloat16")
    for batch in training_batches(training, options.batch_pairs, options.seed, number):
        with narrow:
            loss = _loss(model, batch.to(device))
        optimiser.zero_grad(set_to_none=True)
        (loss / batch.targets).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total, tokens = total + loss.detach(), tokens + batch.targets
    epoch = Epoch(
        epoch=number,
        training_loss=float(total) / tokens,
        validation_loss=validation_loss(model, validation, options.batch_pairs),
    )
    if not (math.isfinite(epoch.training_loss) and math.isfinite(epoch.validation_loss)):
        raise RunError(
            f"The loss is no finite number in epoch {number}. "
            f"Lower training.learning_rate (it is {options.learning_rate})."
        )
    return epoch


def validation_loss(model: CaptionModel, split: Split, pairs: int) -> float:
    """Return the mean cross-entropy per real token of a split, natural logarithm, in float32."""
    device = next(model.parameters()).device
    model.eval()
    total, tokens = 0.0, 0
    with torch.inference_mode():
        for batch in validation_batches(split, pairs):
            total += float(_loss(model, batch.to(device)))
            tokens += batch.targets
    return total / tokens


def _resumed(
    path: Path, model: CaptionModel, optimiser: torch.optim.Adam, data: dict[str, str]
) -> list[Epoch]:
    """Restore model and optimiser from a checkpoint, if there is one, and return the epochs behind it."""
    notes = load_checkpoint(path, model, optimiser)
    if notes is None:
        return []
    if notes["data"] != data:
        changed = " and ".join(name for name in data if notes["data"].get(name) != data[name])
        raise RunError(
            f"The run in {path.parent} was started with other {changed} data, so it cannot go on. "
            f"Choose another folder of runs, or delete this run."
        )
    return [Epoch.model_validate(epoch) for epoch in notes["history"]]


def _log(history: Sequence[Epoch]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, Epoch.model_fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(epoch.model_dump() for epoch in history)
    return text.getvalue()
