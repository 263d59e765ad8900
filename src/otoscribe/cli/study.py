"""`otoscribe study report`: what the scores of a study say, as a page, Markdown, tables and figures."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otoscribe.cli import terminal
from otoscribe.cli.options import TextOrJson
from otoscribe.errors import UsageError

if TYPE_CHECKING:
    from otoscribe.study.statistics import Comparison

study = typer.Typer(help="Compare settings, each trained with several seeds.", no_args_is_help=True)

CLAIM = re.compile(r"(?P<axis>[^:]+):(?P<higher>[^>]+)>(?P<lower>[^/]+)(/(?P<within>.+))?")


@study.callback()
def _options() -> None:
    pass


@study.command()
def report(
    scores: Annotated[
        Path,
        typer.Option(
            metavar="CSV", help="Scores from anywhere: a column for each axis, then seed, then the metric."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder to write the report into.")
    ],
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
    form: Annotated[
        TextOrJson, typer.Option("--format", help="Lines for people, or one JSON object.")
    ] = TextOrJson.TEXT,
) -> None:
    """Write what scores say: best settings, tests, figures and tables."""
    # Here and not at the top: `otoscribe --help` need not wait for numpy, nor need the extra.
    from otoscribe.study.findings import Findings, Report
    from otoscribe.study.report import write_report
    from otoscribe.study.scores import read_scores
    from otoscribe.study.sections import text_of

    table = read_scores(scores, metric)
    claims = None if compare is None else tuple(map(_comparison, compare))
    findings = Findings(Report(table, title, comparisons=claims))
    write_report(findings, output)
    if form is TextOrJson.JSON:
        print(json.dumps(findings.as_json(), indent=2))
    else:
        for line in [*text_of(findings), f"report: {output / 'report.html'}"]:
            print(terminal.printable(line))


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
