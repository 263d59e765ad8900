"""`otoscribe score CANDIDATES REFERENCES`: how good captions are, as a table or JSON."""

import contextlib
import csv
import io
import json
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from otoscribe.cli import terminal
from otoscribe.cli.options import OutputFile, TextOrJson, Threads
from otoscribe.cli.output import Output
from otoscribe.errors import MetricWarning, UsageError

if TYPE_CHECKING:
    from otoscribe.metrics import Scores
    from otoscribe.text.tables import Captions


NAMES = (
    "Metrics, separated by commas, out of bleu_1 to bleu_4, rouge_l, cider_d, meteor, spice, spider, "
    "spider_max, spider_fl and fense."
)


def score(
    candidates: Annotated[
        str,
        typer.Argument(
            metavar="CANDIDATES", help="What a captioner wrote: CSV, JSON, or lines of `caption`."
        ),
    ],
    references: Annotated[
        str,
        typer.Argument(metavar="REFERENCES", help="What people wrote: CSV or JSON, as Clotho or AudioCaps."),
    ],
    metrics: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help=NAMES, show_default="all that can be computed"),
    ] = None,
    form: Annotated[
        TextOrJson, typer.Option("--format", help="A table for people, or one JSON object.")
    ] = TextOrJson.TEXT,
    output: OutputFile = None,
    per_clip: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write a CSV with the scores of every clip.")
    ] = None,
    threads: Threads = None,
) -> None:
    """Score captions against references."""
    # Here and not at the top: `otoscribe --help` need not wait for numpy.
    from otoscribe.text.tables import read_pairing

    inputs = (candidates, references)
    report = None if output is None else Output("--output", output, inputs)
    clips = None if per_clip is None else Output("--per-clip", per_clip, inputs)
    if report and clips and report.path == clips.path:
        raise UsageError("--output and --per-clip write two files; give them different names.")
    names = None if metrics is None else [name.strip() for name in metrics.lower().split(",")]
    ours, theirs = read_pairing(Path(candidates), Path(references))
    (scores,) = scores_of([ours], theirs, names, threads)
    lines = json_of(document_of(scores)) if form is TextOrJson.JSON else text_of(scores, ours, theirs)
    with contextlib.ExitStack() as last:  # also if the file of clips cannot be written
        last.callback(report.write if report else sys.stdout.writelines, lines)
        if clips:  # before the report, whose reader may be gone
            clips.write(_csv(scores))
    if names is not None and scores.missing:
        raise typer.Exit(1)


def scores_of(
    candidates: Sequence["Captions"],
    references: "Captions",
    metrics: Sequence[str] | None = None,
    threads: int | None = None,
) -> list["Scores"]:
    """Score sets of captions; on standard error stands how far that is, and what makes a score doubtful."""
    from otoscribe.metrics import Scorer

    with terminal.Bars() as bars, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", MetricWarning)
        try:
            with Scorer(references, metrics, threads=threads, progress=bars.show) as scorer:
                scores = [scorer.score(captions) for captions in candidates]
        except KeyboardInterrupt:
            print(
                "Interrupted. What SPICE and METEOR answered is kept; the same command goes on from there.",
                file=sys.stderr,
            )
            raise
    doubts = [doubt for captions in candidates for doubt in _doubts(captions, references)]
    for sentence in dict.fromkeys([*(str(warning.message) for warning in caught), *doubts]):
        print(terminal.printable(sentence), file=sys.stderr)
    return scores


def _doubts(candidates: "Captions", references: "Captions") -> Iterator[str]:
    """Yield what makes scores mean little without being an error."""
    if len(references) == 1:
        yield "CIDEr-D of one recording alone is always 0, so SPIDEr is half of SPICE."
    if all(captions[0] in references[name] for name, captions in candidates.items()):
        yield "Every candidate is one of its own references; are the two files swapped?"


def text_of(scores: "Scores", candidates: "Captions", references: "Captions") -> Iterator[str]:
    """Yield the lines that a person reads."""
    yield from _table(scores)
    yield "\n"
    yield from _described(scores, _counted(candidates, "candidates"), _counted(references, "references"))


def _table(scores: "Scores") -> Iterator[str]:
    if scores.corpus:
        width = max(map(len, scores.corpus))
        yield f"{'metric':{width}}   score   95 % interval\n"
        for name, estimate in scores.corpus.items():
            line = f"{name:{width}}  {estimate.value:6.4f}"
            if estimate.low is not None:
                line += f"   {estimate.low:6.4f} to {estimate.high:6.4f}"
            yield f"{line}\n"
    for reason in dict.fromkeys(scores.missing.values()):
        names = ", ".join(name for name in scores.missing if scores.missing[name] == reason)
        yield f"missing: {names}. {terminal.printable(reason)}\n"


def _counted(captions: "Captions", kind: str) -> str:
    """Say how many texts there are: who swapped the files, or has several candidates, sees it here."""
    counts = [len(texts) for texts in captions.values()]
    least, most = min(counts), max(counts)
    return f"{sum(counts)} {kind}, {least if least == most else f'{least} to {most}'} a clip"


def _described(scores: "Scores", candidates: str, references: str) -> Iterator[str]:
    statistics = scores.statistics
    yield f"clips: {statistics.clips}; {candidates}; {references}\n"
    yield (
        f"words: {statistics.words_mean:.1f} a candidate ({statistics.words_min} to {statistics.words_max}), "
        f"{statistics.reference_words_mean:.1f} a reference\n"
    )
    yield (
        f"distinct words: {statistics.vocabulary} in candidates, "
        f"{statistics.reference_vocabulary} in references, "
        f"{statistics.one_reference_vocabulary:.0f} in one reference of each clip\n"
    )
    yield f"distinct captions: {statistics.distinct_captions}"
    yield f"; empty: {statistics.empty_captions}\n" if statistics.empty_captions else "\n"


def document_of(scores: "Scores") -> dict[str, Any]:
    """Return what a program reads, as JSON can hold it."""
    return {
        "scores": {name: asdict(estimate) for name, estimate in scores.corpus.items()},
        "missing": dict(scores.missing),
        "statistics": asdict(scores.statistics),
    }


def json_of(document: dict[str, Any]) -> Iterator[str]:
    """Yield a report as it is written."""
    yield json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def _csv(scores: "Scores") -> Iterator[str]:
    """Yield rows whose numbers are exact to the last bit; what is missing is empty."""
    from otoscribe.metrics import METRICS

    names = [*scores.per_clip, *scores.missing]
    names.sort(key=METRICS.index)
    line = io.StringIO()
    rows = csv.writer(line)
    rows.writerow(["file_name", *names])
    for clip, file_name in enumerate(scores.clips):
        values = [float(scores.per_clip[name][clip]) if name in scores.per_clip else "" for name in names]
        rows.writerow([file_name, *values])
    yield line.getvalue()
