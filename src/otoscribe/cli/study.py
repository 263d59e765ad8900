"""`otoscribe study`: many settings, each trained with several seeds: planned, run, and how far that is."""

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from otoscribe.cli import terminal
from otoscribe.cli.options import Changes, Device, Features, SkipMissing, TextOrJson, Weights, Words
from otoscribe.cli.study_text import failure_lines, missing_row, plan_document, plan_lines
from otoscribe.errors import UsageError

if TYPE_CHECKING:
    from otoscribe.study.engine.opened import Study, Where
    from otoscribe.study.engine.settings import StudySettings
    from otoscribe.study.engine.work import Outcome
    from otoscribe.study.statistics import Comparison

study = typer.Typer(
    help="Compare many settings, each trained with several seeds.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

CLAIM = re.compile(r"(?P<axis>[^:]+):(?P<higher>[^>]+)>(?P<lower>[^/]+)(/(?P<within>.+))?")

Chosen = Annotated[
    str, typer.Argument(metavar="STUDY", help="A TOML file that describes a study, or a preset (paper).")
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="AXIS=VALUES",
        help="Values of an axis to keep, as encoder=yamnet,vggish; any number of times.",
    ),
]
Add = Annotated[
    list[str] | None,
    typer.Option(metavar="AXIS=VALUES", help="Values that an axis gets, likewise; it need not be there."),
]
Seeds = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Runs of each setting.", show_default="the study's")
]
Folder = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Folder of runs and scores.", show_default="studies/NAME"),
]
Form = Annotated[TextOrJson, typer.Option("--format", help="Lines for people, or one JSON object.")]
RunThreads = Annotated[int, typer.Option(metavar="N", min=1, max=1024, help="Processor threads of each run.")]


@study.command()
def plan(
    chosen: Chosen,
    only: Only = None,
    add: Add = None,
    seeds: Seeds = None,
    changes: Changes = None,
    folder: Folder = None,
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

    settings = read_study(chosen, only or (), add or (), seeds, changes or ())
    where = _where(settings, folder, Path("features"), weights, words, skip_missing, device, threads)
    with terminal.quiet_libraries(), terminal.Bars() as bars:
        found = plan_study(settings, where, measure, bars.show)
    workers = max(1, _cores() // threads)
    if form is TextOrJson.JSON:
        print(json.dumps(plan_document(settings, found, workers), indent=2))
    else:
        print("\n".join(map(terminal.printable, plan_lines(settings, found, workers))))


@study.command()
def run(
    chosen: Chosen,
    only: Only = None,
    add: Add = None,
    seeds: Seeds = None,
    changes: Changes = None,
    folder: Folder = None,
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
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Run on this Ray cluster: HOST:PORT of its head, or auto."),
    ] = None,
    gpus: Annotated[
        float, typer.Option(metavar="N", min=0, help="GPUs that a run on a Ray cluster needs, as 0.25.")
    ] = 0.0,
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

    settings = read_study(chosen, only or (), add or (), seeds, changes or ())
    share = Shard.read(shard) if shard else None
    opened = _opened(settings, folder, features, weights, words, skip_missing, device, threads)
    _say_missing(opened)
    if lacking := lacking_for(settings.metric):
        print(terminal.printable(f"no scores: {settings.metric}. {lacking}"), file=sys.stderr)
    if ray is None:
        workers = workers or max(1, _cores() // threads)
        backend = in_processes(workers)
    else:
        from otoscribe.spread.ray_cluster import on_ray

        backend, workers = on_ray(ray, threads, gpus)
    try:
        with terminal.quiet_libraries(), terminal.Bars(period=1e9) as bars:
            run_study(opened, backend, workers, share, retry, _Talk(bars, opened).say, bars.show)
        with terminal.Bars() as bars:
            scored = score_study(opened, progress=bars.show)
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on after the last epoch of each run.", file=sys.stderr)
        raise
    total, failed = len(opened.runs), opened.states().count(State.FAILED)
    print(f"{scored} of {total} runs have a score" + (f": {opened.folder / SCORES}" if scored else ""))
    if failed:
        print(f"{failed} failed; otoscribe study status says why, and --retry tries them again.")
    if failed or opened.missing:
        raise typer.Exit(1)


@study.command()
def report(
    chosen: Annotated[
        str | None,
        typer.Argument(metavar="STUDY", help="A study, however far it is.", show_default="see --scores"),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV", help="Scores from anywhere: a column for each axis, then seed, then the metric."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Folder to write the report into.",
            show_default="report/ in that of the study",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column of the metric.", show_default="the last one"),
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AXIS:HIGHER>LOWER/WITHIN",
            help="Claim to test within each value of another axis, or without /WITHIN over all; "
            "any number of times.",
            show_default="tuned > fixed within words, overlap > none within encoder",
        ),
    ] = None,
    title: Annotated[str, typer.Option(help="Title of the report.")] = "A study of audio captioning",
    form: Form = TextOrJson.TEXT,
    only: Only = None,
    add: Add = None,
    seeds: Seeds = None,
    changes: Changes = None,
    folder: Folder = None,
    weights: Weights = None,
    words: Words = None,
    skip_missing: SkipMissing = False,
) -> None:
    """Write what scores say: best settings, tests, figures and tables."""
    # Here and not at the top: `otoscribe --help` need not wait for numpy, nor need the extra.
    from otoscribe.study.findings import Findings, Report
    from otoscribe.study.report import write_report
    from otoscribe.study.scores import read_scores
    from otoscribe.study.sections import text_of

    if (chosen is None) == (scores is None):
        raise UsageError("Name either a study or, with --scores, a CSV of scores.")
    claims = None if compare is None else tuple(map(_comparison, compare))
    if scores is not None:
        if output is None:
            raise UsageError("Name the folder of the report: --output FOLDER.")
        found = Report(read_scores(scores, metric), title, comparisons=claims)
    else:
        from otoscribe.study.engine.reported import report_of
        from otoscribe.study.engine.scoring import score_study
        from otoscribe.study.engine.settings import read_study

        settings = read_study(str(chosen), only or (), add or (), seeds, changes or ())
        opened = _opened(settings, folder, Path("features"), weights, words, skip_missing, "cpu", 1)
        with terminal.Bars() as bars:
            score_study(opened, progress=bars.show)
        found = report_of(opened, title, settings.data.evaluation, claims)
        output = output or opened.folder / "report"
    findings = Findings(found)
    write_report(findings, output)
    if form is TextOrJson.JSON:
        print(json.dumps(findings.as_json(), indent=2))
    else:
        for line in [*text_of(findings), f"report: {output / 'report.html'}"]:
            print(terminal.printable(line))


@study.command()
def status(
    chosen: Chosen,
    only: Only = None,
    add: Add = None,
    seeds: Seeds = None,
    changes: Changes = None,
    folder: Folder = None,
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
    opened = _opened(settings, folder, Path("features"), weights, words, skip_missing, "cpu", 1)
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
        "missing": _missing(opened),
    }
    if form is TextOrJson.JSON:
        print(json.dumps(document, indent=2))
        return
    print(f"{settings.name}: {len(states)} runs")
    for name, count in counted(states).items():
        print(f"{count:>6} {name}")
    for line in failure_lines(failures):
        print(terminal.printable(line))
    _say_missing(opened)


def _opened(
    settings: "StudySettings",
    folder: Path | None,
    features: Path,
    weights: Path | None,
    words: Path | None,
    skip_missing: bool,
    device: str,
    threads: int,
) -> "Study":
    from otoscribe.study.engine.opened import open_study

    where = _where(settings, folder, features, weights, words, skip_missing, device, threads)
    with terminal.Bars() as bars:
        return open_study(settings, where, bars.show)


def _where(
    settings: "StudySettings",
    folder: Path | None,
    features: Path,
    weights: Path | None,
    words: Path | None,
    skip_missing: bool,
    device: str,
    threads: int,
) -> "Where":
    from otoscribe.study.engine.opened import Where
    from otoscribe.train.trainer import RuntimeSettings, device_of

    runtime = RuntimeSettings(device=device, threads=threads)
    device_of(runtime)
    return Where(
        folder=folder or Path("studies") / settings.name,
        features=features,
        weights=weights,
        words=words,
        skip_missing=skip_missing,
        runtime=runtime,
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _named(opened: "Study", run: Any) -> dict[str, Any]:
    return {**dict(zip(opened.settings.axes, run.labels, strict=True)), "seed": run.seed}


def _missing(opened: "Study") -> list[dict[str, Any]]:
    return [missing_row(missing, opened.settings.seeds) for missing in opened.missing]


def _say_missing(opened: "Study") -> None:
    for missing in _missing(opened):
        line = f"not run: {missing['runs']} runs with {missing['what']}. {missing['reason']}"
        print(terminal.printable(line), file=sys.stderr)


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


def _comparison(text: str) -> "Comparison":
    from otoscribe.study.statistics import Comparison

    claim = CLAIM.fullmatch(text)
    if not claim:
        raise UsageError(
            f"--compare {text!r} is no claim; write AXIS:HIGHER>LOWER or AXIS:HIGHER>LOWER/WITHIN, in "
            "quotes, such as 'adapter:mlp>identity/encoder'."
        )
    parts = {name: part and part.strip() for name, part in claim.groupdict().items()}
    return Comparison(**parts)
