"""`otoscribe evaluate RUN TABLE`: captions of a trained run for captioned recordings, and their scores."""

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from otoscribe.cli import terminal
from otoscribe.cli.options import Device, Features, SkipMissing, TextOrJson, Threads, Weights, Words
from otoscribe.cli.output import Output, warn_if_unfinished
from otoscribe.errors import UsageError

if TYPE_CHECKING:
    from otoscribe.metrics import Scores
    from otoscribe.text.tables import Captions


class Searched(NamedTuple):
    """What one search found."""

    beam: int
    file: str
    """That holds the captions, as it was named."""
    captions: "Captions"


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a training run.")],
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE",
            help="Recordings with references: a CSV, a folder with one, or a split as clotho:validation.",
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="CSV to write: file_name,caption; beside it NAME.greedy.csv, by greedy search.",
        ),
    ],
    beam: Annotated[
        int, typer.Option(metavar="N", help="Hypotheses kept while searching; 1 searches greedily only.")
    ] = 4,
    form: Annotated[
        TextOrJson, typer.Option("--format", help="Tables for people, or one JSON object.")
    ] = TextOrJson.TEXT,
    weights: Weights = None,
    words: Words = None,
    skip_missing: SkipMissing = False,
    features: Features = Path("features"),
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Caption recordings by a trained run, greedily and by beam search, and score the captions."""
    # Here and not at the top: `otoscribe --help` need not wait for torch, nor need it.
    from otoscribe.cli.score import scores_of
    from otoscribe.datasets.corpora.base import read_source
    from otoscribe.search.options import Search
    from otoscribe.train.coverage import coverage_of
    from otoscribe.train.evaluate import evaluate as evaluate_run
    from otoscribe.train.trainer import RuntimeSettings

    searches = [Search(beam=size) for size in dict.fromkeys((1, beam))]
    listed = read_source(table)
    outputs = _outputs(output, len(searches), listed.table)
    if any(run.resolve() in target.path.parents for target in outputs.values()):
        raise UsageError(
            f"{output} lies in the folder of the run and would damage it; choose another folder."
        )
    warn_if_unfinished(run, "evaluated")
    clips = listed.clips(skip_missing)
    names = [_name(clip.path, listed.folder) for clip in clips]
    found: list[Searched] = []
    for options, (file, target) in zip(searches, outputs.items(), strict=True):
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
        candidates: Captions = {name: (caption,) for name, caption in zip(names, captions, strict=True)}
        target.write(_csv(candidates))
        found.append(Searched(options.beam, file, candidates))
    coverage = coverage_of(run)
    leaky = coverage is not None and coverage.leaky
    references = {name: clip.captions for name, clip in zip(names, clips, strict=True)}
    scores = scores_of([searched.captions for searched in found], references, threads=threads)
    if form is TextOrJson.JSON:
        sys.stdout.writelines(_json(found, scores, leaky))
    else:
        sys.stdout.writelines(_text(found, scores, references, leaky))


def _outputs(output: str, searches: int, read: Path) -> dict[str, Output]:
    """Return the file for each search by its name, that of the beam last.

    Raises:
        UsageError: a file is no place for captions.
    """
    target = Output("--output", output, [str(read)])
    if searches == 1:
        return {output: target}
    path = Path(output)
    greedy = str(path.with_name(f"{path.stem}.greedy{path.suffix}"))
    return {greedy: Output("--output", greedy, [str(read)]), output: target}


def _text(
    found: Sequence[Searched], scores: Sequence["Scores"], references: "Captions", leaky: bool
) -> Iterator[str]:
    """Yield a table for each search, one below the other."""
    from otoscribe.cli.score import text_of
    from otoscribe.train.coverage import LEAK

    for place, (searched, scored) in enumerate(zip(found, scores, strict=True)):
        search = "greedy search" if searched.beam == 1 else f"beam of {searched.beam}"
        yield "\n" * bool(place) + terminal.printable(f"{search}, {searched.file}") + "\n"
        yield from text_of(scored, searched.captions, references)
    if leaky:
        yield f"{LEAK}\n"


def _json(found: Sequence[Searched], scores: Sequence["Scores"], leaky: bool) -> Iterator[str]:
    from otoscribe.cli.score import document_of, json_of

    searches = [
        {"beam": searched.beam, "file": searched.file, **document_of(scored)}
        for searched, scored in zip(found, scores, strict=True)
    ]
    yield from json_of({"leaky": leaky, "searches": searches})


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
