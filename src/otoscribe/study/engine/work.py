"""What a worker process does: it computes what runs share, then trains and captions one run after the other.

A process keeps what the last run was prepared from, so that runs that differ in adapter or seed share it.
"""

import json
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import filelock
from torch import Tensor

from otoscribe.datasets.folder import CaptionedClip
from otoscribe.errors import RunError
from otoscribe.files import write_text
from otoscribe.search.options import Search
from otoscribe.settings import run_id
from otoscribe.study.engine.results import Results
from otoscribe.study.engine.state import State, last_line, lock_of, state_of, sweep, write_captions
from otoscribe.train.evaluate import captions_of
from otoscribe.train.experiment import Material, Places
from otoscribe.train.monitor import Sample
from otoscribe.train.run import load_model
from otoscribe.train.settings import ExperimentSettings, parse_settings
from otoscribe.train.trainer import Experiment, RuntimeSettings, device_of, embed_captions, train
from otoscribe.train.waveforms import tuned_features_of


@dataclass(frozen=True)
class Shared:
    """What all runs of a study have in common, as worker processes get it."""

    runs: Path
    """Folder of the runs."""
    places: Places
    training: Sequence[CaptionedClip]
    validation: Sequence[CaptionedClip]
    evaluation: Mapping[str, CaptionedClip]
    """By the names that captions get."""
    encoders: Mapping[str, Mapping[str, Any]]
    """See `Material.encoders`."""
    search: Search
    runtime: RuntimeSettings
    results: Results | None = None
    """Where runs are kept that no other machine sees here; None: all see them, or there is one machine."""

    @cached_property
    def captioned(self) -> str:
        """64 hexadecimal digits that tell reported recordings and search from others."""
        digest = sha256(self.search.model_dump_json().encode())
        for name, clip in self.evaluation.items():
            digest.update(f"{clip.sha256} {name}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    @cached_property
    def key(self) -> str:
        """64 hexadecimal digits that tell this from what another study's, or other files', runs share."""
        clips = [clip.sha256 for clip in (*self.training, *self.validation)]
        captions = [clip.captions for clip in (*self.training, *self.validation)]
        settings = [
            str(self.runs),
            str(self.places),
            str(self.results and self.results.store),
            self.runtime.model_dump_json(),
        ]
        content = [self.captioned, clips, captions, dict(self.encoders), settings]
        return sha256(json.dumps(content).encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True)
class Job:
    """A piece of work."""

    kind: Literal["features", "vectors", "run"]
    """What an encoder makes of recordings; vectors of slow words; or a run."""
    settings: str
    """Of the run, or of one of those that need it, as JSON: it may name classes of other people's modules."""
    run: str
    """Its id; of another job, what tells it from others."""
    retry: bool = False
    """Whether to try again what failed."""
    wait: bool = False
    """Whether to wait for another process that works on it."""


@dataclass(frozen=True)
class Outcome:
    """What came of a job."""

    job: Job
    state: State | None = None
    """Of the run; None: another process works on it, or the job is none."""
    problem: str = ""
    """Why it failed, in a line."""
    seconds: float = 0.0
    """Spent on it."""
    note: str = ""
    """What there is to say of a run that was done."""


def work(job: Job, shared: Shared) -> Outcome:
    """Do a job, in any process; what was done before costs little. Failures are told, not raised."""
    began = time.perf_counter()
    shop = _shop_of(shared)
    try:
        outcome = shop.run(job) if job.kind == "run" else shop.prepare(job)
    except Exception as error:  # whatever the code of an encoder, a metric or this one raises
        outcome = Outcome(job, State.FAILED, _reason(error))
    return replace(outcome, seconds=time.perf_counter() - began)


class _Shop:
    """A worker process's material."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._material = Material(
            shared.training,
            shared.validation,
            shared.places,
            device=shared.runtime.device,
            encoders=shared.encoders,
        )
        self._encoded: tuple[str, Sequence[Tensor]] | None = None

    def prepare(self, job: Job) -> Outcome:
        """Compute what several runs need."""
        settings = parse_settings(job.settings, "the study")
        device_of(self.shared.runtime)
        if job.kind == "features":
            clips = [*self.shared.training, *self.shared.validation, *self.shared.evaluation.values()]
            self._material.features(clips, settings.model.encoder, settings.data.precision)
            return Outcome(job)
        experiment = self._material.prepare(settings)
        assert experiment.states is not None
        folder = experiment.states.path.parent
        folder.mkdir(parents=True, exist_ok=True)
        # Another process would compute the same beside this one.
        with filelock.FileLock(experiment.states.path.with_suffix(".lock")):
            embed_captions(experiment, self.shared.runtime)
        return Outcome(job)

    def run(self, job: Job) -> Outcome:
        """Train and caption, unless that was done."""
        run = self.shared.runs / job.run
        try:
            with lock_of(run).acquire(timeout=-1 if job.wait else 0):
                if self.shared.results is not None:
                    self.shared.results.fetch(run, self.shared.captioned)
                outcome = self._run(job, run)
                # A reason of the run's own is kept here, and says more than that it could not be put.
                with suppress(RunError) if outcome.problem else nullcontext():
                    self._put(run)
                return outcome
        except filelock.Timeout:
            return Outcome(job)

    def _run(self, job: Job, run: Path) -> Outcome:
        state = state_of(run, self.shared.captioned)
        if state is State.CAPTIONED:
            return Outcome(job, state, note="done by another runner")
        if state is State.FAILED and not job.retry:
            return Outcome(job, state, last_line(run))
        sweep(run)
        try:
            experiment = self._material.prepare(parse_settings(job.settings, "the study"))
            if run_id(experiment.settings) != job.run:
                raise RunError(
                    "Recordings, captions or weights changed while the study ran. "
                    "Type the same command again."
                )
            note = self._train(experiment, run)
            self._caption(experiment, run)
        except Exception as error:
            write_text(run / "failed", traceback.format_exc())
            return Outcome(job, State.FAILED, _reason(error))
        (run / "failed").unlink(missing_ok=True)
        return Outcome(job, State.CAPTIONED, note=note)

    def _train(self, experiment: Experiment, run: Path) -> str:
        losses: list[float] = []

        def put(sample: Sample) -> None:
            # What cannot be put now is put after the next epoch, or when the run has ended.
            with suppress(RunError):
                self._put(run)

        train(
            experiment,
            self.shared.runs,
            self.shared.runtime,
            lambda epoch: losses.append(epoch.validation_loss),
            put,
        )
        best = min(losses)
        return f"validation loss {best:.4f} in epoch {losses.index(best) + 1} of {len(losses)}"

    def _caption(self, experiment: Experiment, run: Path) -> None:
        shared, settings = self.shared, experiment.settings
        model = load_model(run, settings, experiment.vocabulary, experiment.beginning)
        model.to(device_of(shared.runtime))
        clips = list(shared.evaluation.values())
        encoded: Sequence[Tensor]
        if model.encoder is not None:
            encoded = tuned_features_of(clips, model.encoder)
        else:
            encoded = self._features(clips, settings)
        found = captions_of(model, experiment.vocabulary, encoded, shared.search)
        write_captions(run, shared.captioned, dict(zip(shared.evaluation, found, strict=True)))

    def _put(self, run: Path) -> None:
        if self.shared.results is not None:
            self.shared.results.put(run)

    def _features(self, clips: Sequence[CaptionedClip], settings: ExperimentSettings) -> Sequence[Tensor]:
        key = f"{settings.model.encoder.model_dump_json()} {settings.data.precision}"
        if self._encoded is None or self._encoded[0] != key:
            features = self._material.features(clips, settings.model.encoder, settings.data.precision)
            self._encoded = key, features
        return self._encoded[1]


_shops: list[_Shop] = []
"""The last one of this process."""


def _shop_of(shared: Shared) -> _Shop:
    if not _shops or _shops[0].shared.key != shared.key:
        _shops[:] = [_Shop(shared)]
    return _shops[0]


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
