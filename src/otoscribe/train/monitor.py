"""A view of a run for people: a sample caption of every epoch, pairs per second, the file of TensorBoard."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from otoscribe.model.caption_model import CaptionModel
from otoscribe.model.torch_stepper import TorchStepper
from otoscribe.search.beam import search
from otoscribe.search.options import Search
from otoscribe.text.vocabulary import PAD, START, Vocabulary
from otoscribe.train.batches import Source
from otoscribe.train.history import Epoch

GREEDY = Search(beam=1)


@dataclass(frozen=True)
class Sample:
    """What can be seen of one epoch besides its losses; no part of the history, as speeds differ."""

    epoch: int
    pairs_per_second: float
    """Pairs of recording and caption that training took in."""
    caption: str
    """Of the validation's first recording, greedily decoded."""
    reference: str
    """What somebody wrote about it, where a word of no training caption is `<unknown>`."""


def sample_caption(model: CaptionModel, validation: Source, vocabulary: Vocabulary) -> tuple[str, str]:
    """Caption the validation's first recording.

    Args:
        model: in evaluation mode.
        validation: the recordings.
        vocabulary: of the model.

    Returns:
        The caption, and a reference.
    """
    device = next(model.parameters()).device
    with torch.inference_mode():
        batch = next(iter(validation.validation_batches(1))).to(device)
        keys, values, mask = batch.memory(model)
        stepper = TorchStepper(model, keys[:, :1], values[:, :1], None if mask is None else mask[:1])
        found = search(stepper, GREEDY)[0][0]
    tokens = batch.rows.tokens[batch.rows.clip_of_row.index(0)].tolist()
    reference = (vocabulary.words[token] for token in tokens if token not in (PAD, START))
    return vocabulary.decode(found.tokens), " ".join(reference)


class Board:
    """A run's folder `tensorboard`: losses and a sample caption by epoch.

    It is written anew from the history when a run goes on, so that no epoch is there twice.

    Args:
        run: the run's folder.
        history: epochs of an earlier process.
    """

    def __init__(self, run: Path, history: Sequence[Epoch]) -> None:
        # Here and not at the top: it takes a while, and only training needs it.
        from tensorboardX import SummaryWriter

        folder = run / "tensorboard"
        shutil.rmtree(folder, ignore_errors=True)
        self._writer = SummaryWriter(str(folder))
        for epoch in history:
            self.add(epoch)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def add(self, epoch: Epoch, sample: Sample | None = None) -> None:
        """Write what an epoch gave."""
        self._writer.add_scalar("loss/training", epoch.training_loss, epoch.epoch)
        self._writer.add_scalar("loss/validation", epoch.validation_loss, epoch.epoch)
        if sample is not None:
            self._writer.add_scalar("pairs per second", sample.pairs_per_second, epoch.epoch)
            text = f"{sample.caption}\n\n(a reference: {sample.reference})"
            self._writer.add_text("caption", text, epoch.epoch)
        self._writer.flush()
