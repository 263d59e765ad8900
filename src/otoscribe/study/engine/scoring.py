"""Captions of all runs that have some → their scores, in one table."""

import json
import math
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from numbers import Real

from filelock import FileLock

from otoscribe.errors import MetricError, OtoscribeError, RunError
from otoscribe.fetch import assets
from otoscribe.files import write_text
from otoscribe.metrics.evaluation import METRICS
from otoscribe.metrics.fense import networks
from otoscribe.metrics.java import runtime
from otoscribe.metrics.java.spice_files import SpiceFiles
from otoscribe.metrics.scorer import Scorer
from otoscribe.progress import Progress
from otoscribe.registry import guarded
from otoscribe.study.engine.opened import Run, Study
from otoscribe.study.engine.state import State, keep_score, kept_score, read_captions, sweep
from otoscribe.study.metrics.base import OWN
from otoscribe.study.scores import Score, ScoreTable

SCORES = "scores.csv"
"""The table in a study's folder."""
OF_SPICE = ("spice", "spider", "spider_max", "spider_fl")
"""Metrics that need SPICE's files."""


def score_study(study: Study, threads: int | None = None, progress: Progress | None = None) -> int:
    """Score the captions of every run that has some, and write the study's table.

    Of the same captions, a metric of otoscribe's is computed once ever; and SPICE parses a caption once,
    whichever runs wrote it.

    Args:
        study: with runs in any state.
        threads: how many parse at once.
        progress: called for every run, and as `Scorer` does.

    Returns:
        How many runs have a score.

    Raises:
        MetricError: the metric cannot be computed.
        RunError: captions are damaged, or scores cannot be written.
        UsageError: an own metric is not known, or failed.
    """
    try:
        study.folder.mkdir(parents=True, exist_ok=True)
        # The last of several runners sees what all of them did.
        with FileLock(study.folder / "scores.lock"):
            states = zip(study.runs, study.states(), strict=True)
            done = [run for run, reached in states if reached is State.CAPTIONED]
            if done:
                scores = tuple(_scores(study, done, threads, progress))
                table = ScoreTable(tuple(study.settings.axes), study.settings.metric, scores)
                write_text(study.folder / SCORES, table.csv())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise RunError(
            f"The scores of the study in {study.folder} cannot be kept there: {reason}. The captions stay, "
            "and the same command goes on."
        ) from error
    return len(done)


def _scores(study: Study, runs: list[Run], threads: int | None, progress: Progress | None) -> Iterator[Score]:
    metric = study.settings.metric
    references = json.dumps(study.references, sort_keys=True)
    with ExitStack() as closing:
        scorer: Scorer | None = None
        for done, run in enumerate(runs, 1):
            folder = study.folder_of(run)
            sweep(folder)
            captions = read_captions(folder)
            of = sha256(f"{json.dumps(captions, sort_keys=True)} {references}".encode()).hexdigest()
            value = kept_score(folder, metric, of)
            if value is None and metric in METRICS:
                if scorer is None:
                    scorer = Scorer(study.references, [metric], threads=threads, progress=progress)
                    closing.enter_context(scorer)
                value = scorer.score(captions)[metric].value
                keep_score(folder, metric, of, value)
            elif value is None:
                value = _own(study, captions)
            yield Score(run.labels, run.seed, value, run.made_up)
            if progress:
                progress("scoring runs", done, len(runs))


def _own(study: Study, captions: dict[str, str]) -> float:
    name = study.settings.metric
    found: object = guarded("metric", name, lambda: OWN.build(name).score(captions, study.references))
    try:
        value = float(found) if isinstance(found, Real) else math.nan
    except OverflowError:  # of a whole number
        value = math.inf
    if not math.isfinite(value):
        raise MetricError(f"The metric {name!r} must give a finite number, not {found!r:.60}.")
    return value


def lacking_for(metric: str) -> str | None:
    """Return what a metric lacks here, as far as that is known beforehand: a sentence; None: nothing."""
    try:
        if metric not in METRICS:
            OWN[metric]
        if metric == "meteor" or metric in OF_SPICE:
            runtime.java_home()
            runtime.jars()
        if metric in OF_SPICE:
            runtime.require_jpype()
            SpiceFiles().find()
        if metric in ("fense", "spider_fl") and networks.asset().state() is not assets.State.WHOLE:
            return f"The networks of FENSE are not here. Type: {networks.INSTALL}"
    except OtoscribeError as error:
        return str(error)
    return None
