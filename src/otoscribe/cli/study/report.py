"""`otoscribe study report`: what the scores of a study, or scores from anywhere, say."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otoscribe.cli import terminal
from otoscribe.cli.options import Changes, SkipMissing, TextOrJson, Weights, Words
from otoscribe.cli.study.options import (
    Add,
    Folder,
    Form,
    Only,
    ResultsUrl,
    Seeds,
    opened_study,
    where_of,
)
from otoscribe.errors import UsageError

if TYPE_CHECKING:
    from otoscribe.study.statistics import Comparison

CLAIM = re.compile(r"(?P<axis>[^:]+):(?P<higher>[^>]+)>(?P<lower>/?[^/]+(/[^/]+)*)")
"""Where `lower` may be LOWER/WITHIN."""


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
    results: ResultsUrl = None,
    weights: Weights = None,
    words: Words = None,
    skip_missing: SkipMissing = False,
) -> None:
    """Write what scores say: best settings, tests, figures and tables."""
    # Here and not at the top: `otoscribe --help` need not wait for numpy, nor need the extra.
    from otoscribe.study.findings import Findings, Report
    from otoscribe.study.report import TABLES, write_report
    from otoscribe.study.scores import read_scores
    from otoscribe.study.sections import text_of

    if (chosen is None) == (scores is None):
        raise UsageError("Name either a study or, with --scores, a CSV of scores.")
    if scores is not None:
        if output is None:
            raise UsageError("Name the folder of the report: --output FOLDER.")
        of_studies = {
            "--only": only,
            "--add": add,
            "--seeds": seeds,
            "--set": changes,
            "--folder": folder,
            "--results": results,
            "--weights": weights,
            "--words": words,
            "--skip-missing": skip_missing,
        }
        for option, value in of_studies.items():
            if value:
                raise UsageError(f"{option} is for a study: of --scores, all in the CSV are reported on.")
        # Whose other columns would be lost.
        if scores.resolve() in {(output / name).resolve() for name in TABLES}:
            raise UsageError(f"The report would replace {scores}; name another folder by --output.")
        table = read_scores(scores, metric)
        values = {axis: table.values_of(axis) for axis in table.axes}
        found = Report(table, title, comparisons=_comparisons(compare, values))
    else:
        if metric is not None:
            raise UsageError("--metric is for --scores: the metric of a study is named in its file.")
        from otoscribe.study.engine.reported import report_of
        from otoscribe.study.engine.scoring import score_study
        from otoscribe.study.engine.settings import label_of, read_study

        settings = read_study(str(chosen), only or (), add or (), seeds, changes or ())
        values = {axis: [*map(label_of, named)] for axis, named in settings.axes.items()}
        claims = _comparisons(compare, values)
        opened = opened_study(settings, where_of(settings, folder, results, weights, words, skip_missing))
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


def _comparisons(claims: list[str] | None, values: dict[str, list[str]]) -> "tuple[Comparison, ...] | None":
    return None if claims is None else tuple(_comparison(claim, values) for claim in claims)


def _comparison(text: str, values: dict[str, list[str]]) -> "Comparison":
    from otoscribe.study.statistics import Comparison

    claim = CLAIM.fullmatch(text)
    if not claim:
        raise UsageError(
            f"--compare {text!r} is no claim; write AXIS:HIGHER>LOWER or AXIS:HIGHER>LOWER/WITHIN, in "
            "quotes, such as 'adapter:mlp>identity/encoder'."
        )
    axis, higher, lower = (claim[name].strip() for name in ("axis", "higher", "lower"))
    within = None
    if "/" in lower and lower not in values.get(axis, ()):
        lower, _, within = (part.strip() for part in lower.rpartition("/"))
    return Comparison(axis, higher, lower, within)
