"""`otoscribe caption FILE...`: recordings in, captions out, as text, JSON, JSON Lines or CSV."""

import io
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otoscribe.cli import terminal
from otoscribe.cli.options import Beam, Format, OutputFile, Threads
from otoscribe.cli.output import Output
from otoscribe.errors import UsageError

if TYPE_CHECKING:
    from otoscribe.cli.formats import Result


def caption(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE", help="Recordings: WAV, FLAC, Ogg, MP3, AIFF.")
    ],
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            help="Lines for people, one JSON array, a JSON object a line, or CSV with a row per candidate.",
        ),
    ] = Format.TEXT,
    candidates: Annotated[int, typer.Option(metavar="N", help="Captions per file, best first.")] = 1,
    beam: Beam = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="A model's folder.", show_default="the one inside otoscribe"),
    ] = None,
    output: OutputFile = None,
    threads: Threads = None,
) -> None:
    """Write down what is heard in each recording."""
    # Here and not at the top: `otoscribe --help` need not wait for ONNX Runtime.
    from otoscribe.cli.formats import form_of
    from otoscribe.listen.captioner import BUNDLED, Captioner
    from otoscribe.listen.results import Failure

    failed = False
    with terminal.quiet_libraries(), terminal.ProgressBar(len(files)) as bar:

        def reported(results: "Iterable[Result]") -> "Iterator[Result]":
            nonlocal failed
            for result in results:
                if isinstance(result, Failure):
                    failed = True
                    bar.write(terminal.printable(result.message) + "\n", sys.stderr)
                yield result

        captioner = Captioner(model, threads)
        target = None if output is None else Output("--output", output, files)
        if target is not None and Path(os.path.realpath(model or BUNDLED)) in target.path.parents:
            raise UsageError(
                f"{output} lies in the model's folder and would damage it; choose another folder."
            )
        results = captioner.caption_many(bar.counted(files), beam=beam, candidates=candidates)
        parts = form_of(form, len(files) > 1)(reported(results))
        if target is not None:
            target.write(parts)
        else:
            if form is Format.CSV and isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(newline="")  # on Windows \r\n would become \r\r\n
            for part in parts:
                bar.write(part, sys.stdout)
    if failed:
        raise typer.Exit(1)
