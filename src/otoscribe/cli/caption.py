"""`otoscribe caption FILE...`: recordings in, captions out, as text, JSON, JSON Lines or CSV."""

import io
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from otoscribe.cli import terminal
from otoscribe.cli.options import Beam, Format, OutputFile, Threads
from otoscribe.cli.output import Output
from otoscribe.errors import UsageError

if TYPE_CHECKING:
    from otoscribe.audio.channels import Channel
    from otoscribe.cli.formats import Result


def caption(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE", help="Recordings, in any format that FFmpeg reads; - is standard input."
        ),
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
    channel: Annotated[
        str | None,
        typer.Option(
            metavar="N|each", help="Channel to hear, from 1 on, or each.", show_default="their mean"
        ),
    ] = None,
    style: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="How to write: brief or detailed.", show_default="the model's own"),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="A recording of which anything odd is to be noted has failed.")
    ] = False,
    output: OutputFile = None,
    threads: Threads = None,
) -> None:
    """Write down what is heard in each recording."""
    # Here and not at the top: `otoscribe --help` need not wait for ONNX Runtime.
    from otoscribe.cli.formats import form_of
    from otoscribe.listen.captioner import BUNDLED, Captioner
    from otoscribe.listen.results import Failure

    failed, last_said = False, ""
    with terminal.quiet_libraries(), terminal.ProgressBar(len(files)) as bar:

        def reported(results: "Iterable[Result]") -> "Iterator[Result]":
            nonlocal failed, last_said
            for result in results:
                if isinstance(result, Failure):
                    said = result.message
                elif result.notes:
                    said = f"{result.file}: {'; '.join(result.notes)}."
                    result = Failure(result.file, said) if strict else result
                else:
                    yield result
                    continue
                failed = failed or isinstance(result, Failure)
                if said != last_said:  # each channel has the notes of its recording
                    bar.write(terminal.printable(said) + "\n", sys.stderr)
                last_said = said
                yield result

        captioner = Captioner(model, threads)
        target = None if output is None else Output("--output", output, files)
        if target is not None and Path(os.path.realpath(model or BUNDLED)) in target.path.parents:
            raise UsageError(
                f"{output} lies in the model's folder and would damage it; choose another folder."
            )
        recordings = (_standard_input() if file == "-" else file for file in bar.counted(files))
        results = captioner.caption_many(
            recordings, channel=_channel(channel), style=style, beam=beam, candidates=candidates
        )
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


def _standard_input() -> BinaryIO:
    closed = sys.stdin is None or sys.stdin.closed
    if closed or sys.stdin.isatty():
        raise UsageError(
            f"Standard input is {'closed' if closed else 'the terminal'}; send it a recording: "
            f"otoscribe caption - < FILE."
        )
    return sys.stdin.buffer


def _channel(given: str | None) -> "Channel":
    # What is neither is refused where it is used, as it is in Python.
    return int(given) if given and given.isascii() and given.isdecimal() else given  # type: ignore[return-value]
