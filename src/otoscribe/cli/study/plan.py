"""`otoscribe study plan` and `status`: what a study will be, and how far it is."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from otoscribe.cli import terminal
from otoscribe.cli.options import Changes, Device, SkipMissing, TextOrJson, Weights, Words
from otoscribe.cli.study.options import (
    Add,
    Chosen,
    Folder,
    Form,
    Only,
    ResultsUrl,
    RunThreads,
    Seeds,
    missing_rows,
    opened_study,
    say_missing,
    where_of,
)
from otoscribe.cli.study.text import failure_lines, plan_document, plan_lines
from otoscribe.processors import cores

if TYPE_CHECKING:
    from otoscribe.study.engine.opened import Study


def plan(
    chosen: Chosen,
    only: Only = None,
    add: Add = None,
    seeds: Seeds = None,
    changes: Changes = None,
    folder: Folder = None,
    results: ResultsUrl = None,
    measure: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0, help="Time to measure training steps for; 0: do not measure."),
    ] = 30.0,
    form: Form = TextOrJson.TEXT,
    weights: Weights = None,
    words: Words = None,
    skip_missing: SkipMissing = False,
    device: Device = "cpu",
    threads: RunThreads = 1,
) -> None:
    """Show what a study will be: its runs, what is missing for them, and how long they take."""
    from otoscribe.study.engine.plan import plan_study
    from otoscribe.study.engine.settings import read_study
    from otoscribe.train.trainer import device_of

    settings = read_study(chosen, only or (), add or (), seeds, changes or ())
    where = where_of(settings, folder, results, weights, words, skip_missing, device=device, threads=threads)
    if measure:
        device_of(where.runtime)
    with terminal.quiet_libraries(), terminal.Bars() as bars:
        found = plan_study(settings, where, measure, bars.show)
    workers = max(1, cores() // threads)
    if form is TextOrJson.JSON:
        print(json.dumps(plan_document(settings, found, workers), indent=2))
    else:
        print("\n".join(map(terminal.printable, plan_lines(settings, found, workers))))


def status(
    chosen: Chosen,
    only: Only = None,
    add: Add = None,
    seeds: Seeds = None,
    changes: Changes = None,
    folder: Folder = None,
    results: ResultsUrl = None,
    form: Form = TextOrJson.TEXT,
    weights: Weights = None,
    words: Words = None,
    skip_missing: SkipMissing = False,
) -> None:
    """Show how far a study is, and what failed for which reason."""
    from otoscribe.study.engine.runner import counted
    from otoscribe.study.engine.settings import read_study
    from otoscribe.study.engine.state import State, last_line

    settings = read_study(chosen, only or (), add or (), seeds, changes or ())
    opened = opened_study(settings, where_of(settings, folder, results, weights, words, skip_missing))
    states = opened.states()
    failures = [
        {**_named(opened, run), "run": str(opened.folder_of(run)), "reason": last_line(opened.folder_of(run))}
        for run, state in zip(opened.runs, states, strict=True)
        if state is State.FAILED
    ]
    document = {
        "study": settings.name,
        "runs": len(states),
        "states": counted(states),
        "failures": failures,
        "missing": missing_rows(opened),
    }
    if form is TextOrJson.JSON:
        print(json.dumps(document, indent=2))
        return
    print(f"{settings.name}: {len(states)} runs")
    for name, count in counted(states).items():
        print(f"{count:>6} {name}")
    for line in failure_lines(failures):
        print(terminal.printable(line))
    say_missing(opened)


def _named(opened: "Study", run: Any) -> dict[str, Any]:
    return {**dict(zip(opened.settings.axes, run.labels, strict=True)), "seed": run.seed}
