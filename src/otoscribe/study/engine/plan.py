"""What a study will be: how many runs, what of them is done, what they lack, and how long they take."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from otoscribe.datasets.corpora.base import read_clips
from otoscribe.errors import RunError, TableError
from otoscribe.progress import Progress
from otoscribe.study.engine.grid import Setting, settings_of
from otoscribe.study.engine.opened import Missing, Study, Where, absolute, missing_of, open_study
from otoscribe.study.engine.scoring import lacking_for
from otoscribe.study.engine.settings import StudySettings
from otoscribe.study.engine.state import State
from otoscribe.study.engine.timing import CLOTHO, Sizes, Timed, sizes_of, timed
from otoscribe.train.history import read_log


@dataclass(frozen=True)
class Plan:
    """What is to be done."""

    settings: int
    seeds: int
    states: Sequence[State] | None
    """Of the runs that can be done; None: without data, it is not known which runs these are."""
    missing: Sequence[Missing]
    """With how many settings need it; data are needed by all."""
    metric: str | None
    """Why there will be no scores; None: there will."""
    sizes: Sizes
    """Of the data, or assumed."""
    time: Timed | None
    """Of the runs of `left` that are not trained yet; None: all of them are, or it was not measured."""
    left: int
    """Runs that are to be done, if what is missing is brought."""


def plan_study(study: StudySettings, where: Where, budget: float, progress: Progress | None = None) -> Plan:
    """Look at what is there.

    Args:
        study: what is compared.
        where: its files are, and go.
        budget: seconds to measure training steps for, about; 0: none is measured.
        progress: called for every recording that is read.

    Raises:
        SettingsError: the grid cannot be made.
        AudioError: a recording cannot be read.
        RunError: the data are others than the settings name.
    """
    grid = settings_of(study)
    opened: Study | None = None
    missing = list(_missing_data(study, where, grid))
    if missing:
        missing += missing_of(grid, where)
    else:
        opened = open_study(study, where, progress)
        missing = list(opened.missing)
    states = None if opened is None else opened.states()
    left = _left(grid, study.seeds, opened, states, {State.CAPTIONED})
    untrained = _left(grid, study.seeds, opened, states, {State.CAPTIONED, State.TRAINED})
    sizes = CLOTHO if opened is None else sizes_of(opened.shared.training, opened.shared.validation)
    time = None
    if untrained and budget:
        epochs = None if opened is None else _epochs(opened, states or ())
        time = timed([one.experiment for one in untrained], sizes, where.runtime, budget, epochs)
    lacking = lacking_for(study.metric)
    return Plan(len(grid), study.seeds, states, missing, lacking, sizes, time, len(left))


def _left(
    grid: Sequence[Setting],
    seeds: int,
    opened: Study | None,
    states: Sequence[State] | None,
    reached: Collection[State],
) -> list[Setting]:
    """Return the setting of every run that is in another state than these, be its files there or not."""
    done: dict[tuple[str, ...], int] = {}
    if opened is not None and states is not None:
        for run, state in zip(opened.runs, states, strict=True):
            done[run.labels] = done.get(run.labels, 0) + (state in reached)
    return [one for one in grid for _ in range(seeds - done.get(one.labels, 0))]


def _missing_data(study: StudySettings, where: Where, grid: Sequence[Setting]) -> list[Missing]:
    found: dict[str, Missing] = {}
    for split, source in study.data:
        try:
            read_clips(absolute(Path(source)), where.skip_missing)
        except TableError as error:
            everything = [one.labels for one in grid]
            found.setdefault(str(error), Missing(f"{split} data", str(error), everything))
    return list(found.values())


def _epochs(opened: Study, states: Sequence[State]) -> float | None:
    """Return how many epochs the runs took that are done."""
    counts = []
    for run, state in zip(opened.runs, states, strict=True):
        if state in (State.TRAINED, State.CAPTIONED):
            try:
                counts.append(len(read_log(opened.folder_of(run) / "log.csv")))
            except RunError:  # damaged, which is nothing to a guess
                continue
    return mean(counts) if counts else None
