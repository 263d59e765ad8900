"""`otoscribe caption FILE...`: recordings in, captions out, as text, JSON or CSV."""

import io
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otoscribe.cli import terminal
from otoscribe.cli.output import Output
from otoscribe.errors import UsageError

if TYPE_CHECKING:
    from otoscribe.cli.formats import Result


def caption(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE", help="Recordings: WAV, FLAC, Ogg, MP3, AIFF.")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON array with an object per file.")
    ] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV (RFC 4180) with a row per file and candidate.")
    ] = False,
    candidates: Annotated[int, typer.Option(metavar="N", help="Captions per file, best first.")] = 1,
    beam: Annotated[
        int | None,
        typer.Option(metavar="N", help="Hypotheses kept while searching.", show_default="the model's own"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="A model's folder.", show_default="the one inside otoscribe"),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write to this file, in one piece.", show_default="the terminal"),
    ] = None,
) -> None:
    """Write down what is heard in each recording."""
    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other; give one of them.")

    # Here and not at the top: `otoscribe --help` need not wait for ONNX Runtime.
    from otoscribe.cli import formats
    from otoscribe.listen.captioner import BUNDLED, Captioner
    from otoscribe.listen.results import Failure

    form = formats.as_json if as_json else formats.as_csv if as_csv else formats.as_text(len(files) > 1)

    failed = False
    with terminal.quiet_libraries(), terminal.ProgressBar(len(files)) as bar:

        def noticed(all_results: "Iterable[Result]") -> "Iterator[Result]":
            nonlocal failed
            for result in all_results:
                if isinstance(result, Failure):
                    failed = True
                    bar.write(terminal.printable(result.message) + "\n", sys.stderr)
                yield result

        captioner = Captioner(model)
        target = None if output is None else Output("--output", output, files)
        if target is not None and Path(os.path.realpath(model or BUNDLED)) in target.path.parents:
            raise UsageError(
                f"{output} lies in the model's folder and would damage it; choose another folder."
            )
        results = captioner.caption_many(bar.counted(files), beam=beam, candidates=candidates)
        parts = form(noticed(results))
        if target is None:
            if as_csv and isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(newline="")  # on Windows \r\n would become \r\r\n
            for part in parts:
                bar.write(part, sys.stdout)
        else:
            target.write(parts)
    if failed:
        raise typer.Exit(1)
