"""`otoscribe evaluate RUN TABLE`: captions of a trained run for captioned recordings, and their scores."""

import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otoscribe.cli import terminal
from otoscribe.cli.options import Device, Features, SkipMissing, Threads, Weights, Words
from otoscribe.cli.output import Output
from otoscribe.errors import UsageError

if TYPE_CHECKING:
    from otoscribe.text.tables import Captions


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a training run.")],
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE",
            help="Recordings with references: a CSV, a folder with one, or a split as clotho:evaluation.",
        ),
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="CSV to write: file_name,caption.")
    ],
    beam: Annotated[int, typer.Option(metavar="N", help="Hypotheses kept while searching.")] = 4,
    weights: Weights = None,
    words: Words = None,
    skip_missing: SkipMissing = False,
    features: Features = Path("features"),
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Caption recordings by a trained run, and score the captions."""
    # Here and not at the top: `otoscribe --help` need not wait for torch, nor need it.
    from otoscribe.cli.score import scores_of, text_of
    from otoscribe.datasets.corpora.base import listing_of
    from otoscribe.search.options import Search
    from otoscribe.train.coverage import LEAK, coverage_of
    from otoscribe.train.evaluate import evaluate as evaluate_run
    from otoscribe.train.trainer import RuntimeSettings

    options = Search(beam=beam)
    listed = listing_of(table)
    target = Output("--output", output, [str(listed.table)])
    if run.resolve() in target.path.parents:
        raise UsageError(
            f"{output} lies in the folder of the run and would damage it; choose another folder."
        )
    if not (run / "done").is_file():
        print(
            f"{terminal.printable(str(run))} is not finished; its best epoch so far is evaluated.",
            file=sys.stderr,
        )
    clips = listed.clips(skip_missing)
    with terminal.quiet_libraries(), terminal.Bars() as bars:
        captions = evaluate_run(
            run,
            clips,
            options=options,
            features=features,
            weights=weights,
            words=words,
            runtime=RuntimeSettings(device=device, threads=threads),
            progress=bars.show,
        )
    coverage = coverage_of(run)
    names = [_name(clip.path, listed.folder) for clip in clips]
    candidates: Captions = {name: (caption,) for name, caption in zip(names, captions, strict=True)}
    references = {name: clip.captions for name, clip in zip(names, clips, strict=True)}
    target.write(_csv(candidates))
    scores = scores_of(candidates, references, threads=threads)
    sys.stdout.writelines(text_of(scores, candidates, references))
    if coverage and coverage.leaky:
        print(LEAK)


def _name(recording: Path, folder: Path) -> str:
    """Return the name under which the table in a folder lists a recording."""
    return (recording.relative_to(folder) if recording.is_relative_to(folder) else recording).as_posix()


def _csv(candidates: "Captions") -> Iterator[str]:
    line = io.StringIO()
    rows = csv.writer(line)
    rows.writerow(["file_name", "caption"])
    for name, (caption,) in candidates.items():
        rows.writerow([name, caption])
    yield line.getvalue()
