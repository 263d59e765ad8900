"""A study's folder → what a report on it is made of, however far the study is."""

import warnings
from collections.abc import Iterator

from otoscribe.errors import RunError, TableWarning
from otoscribe.study.engine.opened import Run, Study
from otoscribe.study.engine.scoring import SCORES
from otoscribe.study.engine.state import State, read_captions
from otoscribe.study.findings import Findings, NotRun, Report, Sample
from otoscribe.study.published import RECORDINGS, SPLITS
from otoscribe.study.scores import Setting, read_scores
from otoscribe.study.statistics import Comparison
from otoscribe.train.history import read_log

SHOWN = 8
"""Recordings whose captions are shown."""


def report_of(
    study: Study, title: str, data: str = "", comparisons: tuple[Comparison, ...] | None = None
) -> Report:
    """Gather what the runs of a study gave that have a score.

    Args:
        study: of which `score_study` wrote the scores.
        title: of the report.
        data: what was captioned, for people.
        comparisons: see `Report`.

    Raises:
        RunError: there is no score yet, or captions are damaged.
    """
    states = study.states()
    done = [run for run, state in zip(study.runs, states, strict=True) if state is State.CAPTIONED]
    if not done:
        raise RunError(
            f"No run of the study in {study.folder} has captions yet, so there is nothing to report. "
            "Type: otoscribe study run"
        )
    table = read_scores(study.folder / SCORES)
    curves: dict[Setting, list[list[float]]] = {}
    for run in done:
        log = study.folder_of(run) / "log.csv"
        try:
            losses = [epoch.validation_loss for epoch in read_log(log)]
        except RunError:
            warnings.warn(f"{log} is missing or damaged: its learning curve is left out.", TableWarning, 2)
        else:
            curves.setdefault(run.labels, []).append(losses)
    ranked = Findings(Report(table)).settings
    best, worst = (next(run for run in done if run.labels == ranked[at].setting) for at in (0, -1))
    not_run = tuple(
        NotRun(labels, missing.reason, missing.command or "")
        for missing in study.missing
        for labels in missing.settings
    )
    absent = {labels for missing in study.missing for labels in missing.settings}
    return Report(
        table,
        title,
        data,
        on_clotho=study.settings.data.evaluation in SPLITS and len(study.references) == RECORDINGS,
        recordings=len(study.references),
        planned=len(study.runs) + study.settings.seeds * len(absent),
        not_run=not_run,
        failed=states.count(State.FAILED),
        same=sum(_is_same(study, run) for run in done),
        curves=curves,
        samples=tuple(_samples(study, best, worst)),
        comparisons=comparisons,
    )


def _is_same(study: Study, run: Run) -> bool:
    captions = read_captions(study.folder_of(run))
    return len(captions) > 1 and len({*captions.values()}) == 1


def _samples(study: Study, best: Run, worst: Run) -> Iterator[Sample]:
    """Yield the captions of two runs for some recordings, taken evenly out of all."""
    better, worse = (read_captions(study.folder_of(run)) for run in (best, worst))
    names = list(study.references)
    for name in names[:: -(-len(names) // SHOWN)]:
        yield Sample(name, study.references[name], better[name], worse[name])
