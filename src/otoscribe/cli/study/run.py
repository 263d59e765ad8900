"""`otoscribe study run`: what is left of a study is trained, captioned and scored."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otoscribe.cli import terminal
from otoscribe.cli.options import Changes, Device, Features, Gpus, Ray, SkipMissing, Weights, Words
from otoscribe.cli.study.options import (
    Add,
    Chosen,
    Folder,
    Only,
    ResultsUrl,
    RunThreads,
    Seeds,
    opened_study,
    say_missing,
    where_of,
)
from otoscribe.processors import cores

if TYPE_CHECKING:
    from otoscribe.study.engine.opened import Study
    from otoscribe.study.engine.work import Outcome


def run(
    chosen: Chosen,
    only: Only = None,
    add: Add = None,
    seeds: Seeds = None,
    changes: Changes = None,
    folder: Folder = None,
    results: ResultsUrl = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=1024, help="Runs at once.", show_default="processors / threads of a run"
        ),
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Do only this share of the runs, as 3/16.")
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try again what failed.")] = False,
    ray: Ray = None,
    gpus: Gpus = 0.0,
    weights: Weights = None,
    words: Words = None,
    skip_missing: SkipMissing = False,
    features: Features = Path("features"),
    device: Device = "cpu",
    threads: RunThreads = 1,
) -> None:
    """Do what is left of a study: train, caption, score; what was interrupted goes on."""
    # Here and not at the top: `otoscribe --help` need not wait for torch, nor need it.
    from otoscribe.spread.backends import in_processes
    from otoscribe.spread.shard import Shard
    from otoscribe.study.engine.runner import run_study
    from otoscribe.study.engine.scoring import SCORES, lacking_for, score_study
    from otoscribe.study.engine.settings import read_study
    from otoscribe.study.engine.state import State
    from otoscribe.train.trainer import device_of

    settings = read_study(chosen, only or (), add or (), seeds, changes or ())
    share = None if shard is None else Shard.read(shard)
    where = where_of(settings, folder, results, weights, words, skip_missing, features, device, threads)
    if ray is None:  # on a cluster, this machine need not have the device
        device_of(where.runtime)
    opened = opened_study(settings, where)
    say_missing(opened)
    if lacking := lacking_for(settings.metric):
        print(terminal.printable(f"no scores: {settings.metric}. {lacking}"), file=sys.stderr)
    if ray is None:
        workers = workers or max(1, cores() // threads)
        backend = in_processes(workers)
    else:
        from otoscribe.spread.ray_cluster import on_ray

        backend, workers = on_ray(ray, threads, gpus)
    try:
        with terminal.quiet_libraries(), terminal.Bars(period=1e9) as bars:
            outcomes = run_study(opened, backend, workers, share, retry, _Talk(bars, opened).say, bars.show)
        with terminal.Bars() as bars:
            scored = score_study(opened, progress=bars.show)
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on after the last epoch of each run.", file=sys.stderr)
        raise
    states = dict(zip((run.id for run in opened.runs), opened.states(), strict=True))
    total, failed = len(states), [*states.values()].count(State.FAILED)
    lost = sum(
        bool(outcome.problem) and states[outcome.job.run] not in (State.CAPTIONED, State.FAILED)
        for outcome in outcomes
    )
    print(f"{scored} of {total} runs have a score" + (f": {opened.folder / SCORES}" if scored else ""))
    if failed:
        print(f"{failed} failed; otoscribe study status says why, and --retry tries them again.")
    if lost:
        print(f"{lost} could not be finished or kept; the same command goes on with them.")
    if opened.shared.results is not None:
        opened.shared.results.put_study(
            [opened.folder_of(run) for run in opened.runs], opened.folder / SCORES
        )
    if failed or lost or opened.missing:
        raise typer.Exit(1)


class _Talk:
    """A line for every run on something else than a terminal, and there a bar; a line for every failure."""

    def __init__(self, bars: terminal.Bars, opened: "Study") -> None:
        self._bars, self._runs = bars, {run.id: run for run in opened.runs}
        self._axes = opened.settings.axes

    def say(self, outcome: "Outcome", done: int, total: int) -> None:
        """Tell of a run."""
        self._bars.show("runs", done, total)
        if outcome.problem or not sys.stderr.isatty():
            run = self._runs[outcome.job.run]
            labels = ", ".join(f"{axis} {label}" for axis, label in zip(self._axes, run.labels, strict=True))
            what = f"failed: {outcome.problem}" if outcome.problem else outcome.note
            line = f"{done} of {total}: {run.id}, {labels}, seed {run.seed}: {what}, {outcome.seconds:.1f} s"
            self._bars.write(f"{terminal.printable(line)}\n")
