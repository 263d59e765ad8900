"""Training by the paper's recipe; a killed run goes on to bit-identical results."""

import copy
import math
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor, nn

from otoscribe.errors import RunError, UsageError
from otoscribe.files import write_text
from otoscribe.model.caption_model import CaptionModel
from otoscribe.model.encoders.base import Encoder
from otoscribe.model.words.base import WORDS, Beginning, WordEmbedding
from otoscribe.progress import Progress
from otoscribe.settings import Frozen, run_id
from otoscribe.text.vocabulary import SPECIALS, Vocabulary
from otoscribe.train.batches import Batch, Source
from otoscribe.train.coverage import Coverage
from otoscribe.train.history import Epoch, best_epoch, finished, log_text, read_log
from otoscribe.train.monitor import Board, Sample, sample_caption
from otoscribe.train.prefixes import PrefixStates
from otoscribe.train.run import claim, identity, load_checkpoint, load_model, save_checkpoint, save_tensors
from otoscribe.train.settings import ExperimentSettings, TrainingSettings


class RuntimeSettings(Frozen):
    """Where a run computes; never part of its id."""

    device: str = "cpu"
    """A torch device, such as cpu or cuda."""
    threads: int | None = Field(default=None, gt=0)
    """Processor threads; None leaves torch's choice."""


@dataclass(frozen=True)
class Experiment:
    """All that a run is trained from; `experiment.prepare` makes one.

    Raises:
        ValueError: the settings do not name the data and the encoder's weights, as resolved ones do.
    """

    settings: ExperimentSettings
    """What to train, and how; its hash is the run's id."""
    vocabulary: Vocabulary
    """Words of the training captions, by which both sources are encoded."""
    training: Source
    """Pairs to learn from."""
    validation: Source
    """Pairs that choose the epoch."""
    beginning: Beginning | None = None
    """What the words begin with; None: chance."""
    states: PrefixStates | None = None
    """Keeps the words' vectors for every beginning of a caption; None: they are computed at every step."""
    encoder: Encoder | None = None
    """What is trained along, if the settings say so; stays as it is, and a copy is trained."""

    def __post_init__(self) -> None:
        if not self.settings.is_resolved:
            raise ValueError("The settings of an experiment name its data, and all weights that there are.")
        if self.settings.model.encoder.tuned != (self.encoder is not None):
            raise ValueError("An experiment holds its encoder if that is tuned, and else not.")

    def model(self) -> CaptionModel:
        """Return the model as training begins with it; torch's random numbers decide the rest."""
        chosen = self.settings.model
        return CaptionModel(chosen, self.vocabulary, self.beginning, copy.deepcopy(self.encoder))

    def words(self) -> WordEmbedding:
        """Return the words as training begins with them."""
        chosen = self.settings.model.words
        words = WORDS.build(chosen.name, chosen, self.vocabulary.words)
        if self.beginning is not None:
            words.begin(self.beginning)
        return words

    def coverage(self) -> Coverage:
        """Return how many words have a vector, and whether they leak."""
        return Coverage(
            name=self.settings.model.words.name,
            words=len(self.vocabulary) - len(SPECIALS),
            missing=None if self.beginning is None else self.beginning.missing,
            leaky=self.words().leaky,
        )


def embed_captions(
    experiment: Experiment, runtime: RuntimeSettings, progress: Progress | None = None
) -> None:
    """Compute the vectors of the captions' beginnings that are not kept yet, if the experiment keeps any.

    Args:
        experiment: from `experiment.prepare`.
        runtime: where to compute.
        progress: called for every few beginnings.

    Raises:
        RunError: they cannot be kept.
        UsageError: there is no such device.
    """
    if experiment.states is not None:
        device = device_of(runtime)
        experiment.states.compute(experiment.words().eval().to(device), device, progress)


def learning_rate(options: TrainingSettings, step: int, progress: float) -> float:
    """Return the optimiser's step size.

    Args:
        options: of the run.
        step: steps before this one.
        progress: share of all epochs' pairs that came before this step.
    """
    rate = options.learning_rate * min(1.0, (step + 1) / max(options.warmup_steps, 1))
    if options.schedule == "cosine":
        rate *= (1.0 + math.cos(math.pi * progress)) / 2.0
    return rate


def train(
    experiment: Experiment,
    runs: Path,
    runtime: RuntimeSettings,
    report: Callable[[Epoch], None] = lambda epoch: None,
    sample: Callable[[Sample], None] = lambda sample: None,
    progress: Progress | None = None,
) -> Path:
    """Train until `finished`, going on from the run's last epoch if there is one.

    A run that is done is reported from its folder and not repeated. One that fails leaves the traceback in
    its file `failed`.

    Args:
        experiment: from `experiment.prepare`.
        runs: folder of all runs.
        runtime: where to compute.
        report: called after every epoch, those of an earlier process included.
        sample: called after every epoch of this process, before `report`.
        progress: called after every step, with the pairs of the epoch.

    Returns:
        The run's folder.

    Raises:
        RunError: the run exists with other settings or another vocabulary, is damaged, or its loss is no
            finite number.
        UsageError: there is no such device.
    """
    run = runs / run_id(experiment.settings)
    device = device_of(runtime)
    try:
        claim(run / "settings.json", experiment.settings.model_dump_json(indent=2) + "\n")
        claim(run / "vocabulary.json", experiment.vocabulary.to_json())
        claim(run / "words.json", experiment.coverage().model_dump_json(indent=2) + "\n")
        if (run / "done").is_file():
            load_model(
                run, experiment.settings, experiment.vocabulary, experiment.beginning
            )  # or it is damaged
            for epoch in read_log(run / "log.csv"):
                report(epoch)
        else:
            (run / "failed").unlink(missing_ok=True)
            try:
                embed_captions(experiment, runtime)
                _train(experiment, run, device, report, sample, progress)
            except Exception:
                write_text(run / "failed", traceback.format_exc())
                raise
        # Twice the size of the weights, and of no use once nothing is left to train.
        (run / "last.safetensors").unlink(missing_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise RunError(
            f"The run cannot be kept in {run}: {reason}. Free space there or choose another folder of runs; "
            f"what was trained goes on from its last epoch."
        ) from error
    return run


def _train(
    experiment: Experiment,
    run: Path,
    device: torch.device,
    report: Callable[[Epoch], None],
    sample: Callable[[Sample], None],
    progress: Progress | None,
) -> None:
    options = experiment.settings.training
    torch.manual_seed(options.seed)
    model = experiment.model().to(device)
    # Without decay, AdamW computes what the paper's Adam does, to the bit.
    optimiser = torch.optim.AdamW(
        model.parameters(),
        options.learning_rate,
        (options.beta1, options.beta2),
        options.epsilon,
        options.weight_decay,
    )
    notes = load_checkpoint(run / "last.safetensors", model, optimiser)
    history = [Epoch.model_validate(epoch) for epoch in notes["history"]] if notes else []
    for epoch in history:
        report(epoch)
    with Board(run, history) as board:
        while not finished(history, options):
            epoch, speed = _epoch(experiment, model, optimiser, history, progress)
            history.append(epoch)
            if best_epoch(history) is epoch:
                notes = {**epoch.model_dump(), "run": identity(run.name, experiment.vocabulary)}
                save_tensors(run / "model.safetensors", model.state_dict(), notes)
            notes = {"history": [epoch.model_dump() for epoch in history]}
            save_checkpoint(run / "last.safetensors", model, optimiser, notes)
            write_text(run / "log.csv", log_text(history))
            captions = sample_caption(model, experiment.validation, experiment.vocabulary)
            seen = Sample(epoch.epoch, speed, *captions)
            board.add(epoch, seen)
            sample(seen)
            report(epoch)
    # Once more: the process may have been killed between the last checkpoint and the log.
    write_text(run / "log.csv", log_text(history))
    write_text(run / "done", f"best epoch {best_epoch(history).epoch} of {len(history)}\n")


def device_of(runtime: RuntimeSettings) -> torch.device:
    """Return the device, and limit torch to the threads.

    Raises:
        UsageError: there is no such device.
    """
    if runtime.threads is not None:
        torch.set_num_threads(runtime.threads)
    try:
        device = torch.device(runtime.device)
        torch.empty(1, device=device).sum().item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"The device {runtime.device!r} cannot be used here; cpu always can.") from error
    return device


def _loss(
    model: CaptionModel, batch: Batch, smoothing: float = 0.0, states: PrefixStates | None = None
) -> Tensor:
    """Return the cross-entropy summed over the batch's real tokens."""
    rows = batch.rows
    embed = model.words if states is None else states
    words = embed(rows.tokens).flatten(end_dim=1).index_select(0, rows.places)
    hidden = model.decoder(words, *batch.memory(model), rows.packing)
    return model.decoder.cross_entropy(hidden, model.words.table, rows.targets, smoothing)


def _epoch(
    experiment: Experiment,
    model: CaptionModel,
    optimiser: torch.optim.Optimizer,
    history: Sequence[Epoch],
    progress: Progress | None,
) -> tuple[Epoch, float]:
    """Train one epoch; return what it gave, and the pairs per second of the training."""
    options, training = experiment.settings.training, experiment.training
    number, steps = len(history) + 1, history[-1].steps if history else 0
    device = next(model.parameters()).device
    # Seeded anew each epoch, a resumed run draws the dropout that the uninterrupted one draws.
    torch.manual_seed(options.seed * 1_000_003 + number)
    model.train()
    total, tokens, pairs = torch.zeros((), dtype=torch.float64, device=device), 0, 0
    began = time.perf_counter()
    narrow = torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bfloat16")
    for batch in training.training_batches(options.batch_pairs, options.seed, number):
        share = (len(history) + pairs / training.pairs) / options.maximum_epochs
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(options, steps, share)
        with narrow:
            loss = _loss(model, batch.to(device), options.label_smoothing, experiment.states)
        optimiser.zero_grad(set_to_none=True)
        (loss / batch.targets).backward()  # type: ignore[no-untyped-call]
        if options.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), options.clip_norm)
        optimiser.step()
        total, tokens = total + loss.detach(), tokens + batch.targets
        steps, pairs = steps + 1, pairs + batch.pairs
        if progress:
            progress("training", pairs, training.pairs)
    training_loss = float(total) / tokens  # waits for the device
    speed = pairs / (time.perf_counter() - began)
    epoch = Epoch(
        epoch=number,
        steps=steps,
        training_loss=training_loss,
        validation_loss=validation_loss(model, experiment.validation, options.batch_pairs, experiment.states),
    )
    if not (math.isfinite(epoch.training_loss) and math.isfinite(epoch.validation_loss)):
        raise RunError(
            f"The loss is no finite number in epoch {number}. "
            f"Lower training.learning_rate (it is {options.learning_rate})."
        )
    return epoch, speed


def validation_loss(
    model: CaptionModel, source: Source, batch_pairs: int, states: PrefixStates | None = None
) -> float:
    """Return the mean cross-entropy per real token of all pairs, natural logarithm, in float32."""
    device = next(model.parameters()).device
    model.eval()
    total, tokens = 0.0, 0
    with torch.inference_mode():
        for batch in source.validation_batches(batch_pairs):
            total += float(_loss(model, batch.to(device), states=states))
            tokens += batch.targets
    return total / tokens
