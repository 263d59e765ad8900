"""A study → its runs done, on any number of workers, and their scores."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from otoscribe.model.words.base import WORDS
from otoscribe.spread.backends import Backend, Lost
from otoscribe.spread.shard import Shard
from otoscribe.study.engine.opened import Run, Study
from otoscribe.study.engine.state import State
from otoscribe.study.engine.work import Job, Outcome, Shared, work
from otoscribe.train.embed import kept_features


def run_study(
    study: Study,
    backend: Backend,
    workers: int,
    shard: Shard | None = None,
    retry: bool = False,
    report: Callable[[Outcome, int, int], None] = lambda outcome, done, total: None,
    prepared: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> list[Outcome]:
    """Do what is left to do of a study's runs.

    Args:
        study: with runs in any state.
        backend: does the jobs.
        workers: how many of them it does at once, about.
        shard: do only this share, which is the same whichever runs are done.
        retry: try again what failed.
        report: called for every run that was done or failed, with how many were, and of how many.
        prepared: called for every piece of work that several runs need, a `Progress`.

    Returns:
        What came of the runs that were not done before; failures of before are among them.
    """
    runs = shard.share(study.runs) if shard else list(study.runs)
    left = [run for run, state in zip(runs, _states(study, runs), strict=True) if _is_left(state, retry)]
    for what, shared in (
        ("encoding recordings", list(_feature_jobs(study, left, workers))),
        ("embedding captions", list(_vector_jobs(left))),
    ):
        for done, _ in enumerate(_outcomes(backend, shared, study.shared), 1):
            prepared(what, done, len(shared))
    outcomes: list[Outcome] = []
    jobs = [Job("run", run.settings.model_dump_json(), run.id, retry) for run in left]
    elsewhere: list[Job] = []
    for outcome in _outcomes(backend, jobs, study.shared):
        if outcome.state is None:
            elsewhere.append(replace(outcome.job, wait=True))
        else:
            outcomes.append(outcome)
            report(outcome, len(outcomes), len(jobs))
    # Another runner has these. Whichever it leaves undone, because it is stopped or killed, is done here.
    for outcome in _outcomes(backend, elsewhere, study.shared):
        outcomes.append(outcome)
        report(outcome, len(outcomes), len(jobs))
    return outcomes


def _outcomes(backend: Backend, jobs: Sequence[Job], shared: Shared) -> Iterator[Outcome]:
    for job, result in backend(partial(work, shared=shared), jobs):
        yield Outcome(job, State.FAILED, result.reason) if isinstance(result, Lost) else result


def _states(study: Study, runs: Sequence[Run]) -> list[State]:
    known = dict(zip((run.id for run in study.runs), study.states(), strict=True))
    return [known[run.id] for run in runs]


def _is_left(state: State, retry: bool) -> bool:
    return state is not State.CAPTIONED and (retry or state is not State.FAILED)


def _feature_jobs(study: Study, runs: Sequence[Run], workers: int) -> Iterator[Job]:
    """Yield jobs for what encoders make of recordings, as far as it is not computed yet."""
    encoders: dict[str, Run] = {}
    for run in runs:
        encoder = run.settings.model.encoder
        if not encoder.tuned:
            encoders.setdefault(f"{encoder.model_dump_json()} {run.settings.data.precision}", run)
    shared = study.shared
    clips = [*shared.training, *shared.validation, *shared.evaluation.values()]
    lacking = []
    for run in encoders.values():
        description = shared.encoders[run.settings.model.encoder.model_dump_json()]
        if kept_features(clips, description, shared.places.features, run.settings.data.precision) is None:
            lacking.append(run)
    # Any number of processes may work on the same embeddings; so none is idle.
    for turn in range(max(1, workers // max(1, len(lacking)))):
        for run in lacking:
            yield Job("features", run.settings.model_dump_json(), f"{run.id} {turn}")


def _vector_jobs(runs: Sequence[Run]) -> Iterator[Job]:
    """Yield a job for each kind of words whose vectors of the captions' beginnings are kept."""
    words: dict[str, Run] = {}
    for run in runs:
        chosen = run.settings.model.words
        if WORDS[chosen.name].is_slow(chosen):
            words.setdefault(f"{chosen.model_dump_json()} {run.settings.training.minimum_count}", run)
    for run in words.values():
        yield Job("vectors", run.settings.model_dump_json(), run.id)


def counted(states: Sequence[State]) -> dict[str, int]:
    """Return how many runs are in each state, states without runs included."""
    found = Counter(states)
    return {state.value: found[state] for state in State}
