"""`otoscribe caption FILE...`: recordings in, captions out, as text, JSON or CSV."""

import io
import os
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otoscribe.cli import terminal
from otoscribe.errors import OtoscribeError, UsageError
from otoscribe.files import written_whole

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
    from otoscribe.captioner import BUNDLED, Captioner, Failure
    from otoscribe.cli import formats

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
        target = None if output is None else _target(output, files, BUNDLED if model is None else model)
        results = captioner.caption_many(bar.counted(files), beam=beam, candidates=candidates)
        parts = form(noticed(results))
        if target is None:
            if as_csv and isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(newline="")  # on Windows \r\n would become \r\r\n
            for part in parts:
                bar.write(part, sys.stdout)
        else:
            _write(target, parts)
    if failed:
        raise typer.Exit(1)


def _target(output: str, files: list[str], model: str | os.PathLike[str]) -> Path:
    """Return where to write, or refuse what is not an earlier output: a slip must cost no recording."""
    if output.endswith((os.sep, "/")):
        raise UsageError(f"{output} is a folder. Name a file in it, or leave out --output to print.")
    try:
        # Resolved, so that writing whole replaces the file that a link leads to, and never the link.
        target = Path(os.path.realpath(output))
        exists = _exists(target)
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {_reason(error)}. Choose another --output.") from error
    if Path(os.path.realpath(model)) in (target, *target.parents):
        raise UsageError(f"{output} lies in the model's folder and would damage it; choose another folder.")
    if not exists:
        return target
    if not target.is_file():
        raise UsageError(f"{output} cannot be written: it is not a file. Leave out --output to print.")
    if any(os.path.exists(file) and target.samefile(file) for file in files):  # noqa: PTH110 (a name may hold \0)
        raise UsageError(f"{output} is one of the recordings and would be overwritten; choose another name.")
    if _is_binary(target):
        raise UsageError(
            f"{output} holds something other than text, maybe a recording, and would be overwritten; "
            "choose another name, or remove it first."
        )
    return target


def _exists(target: Path) -> bool:
    try:
        target.stat()
    except (FileNotFoundError, PermissionError):  # the latter is no misuse; writing will say so
        return False
    return True


def _is_binary(path: Path) -> bool:
    # Text has no zero byte, and the header of every audio format has one.
    try:
        with path.open("rb") as file:
            return b"\0" in file.read(1 << 16)
    except OSError as error:
        raise _unwritten(path, error) from error


def _write(target: Path, parts: Iterator[str]) -> None:
    first = next(parts, None)
    if first is None:  # no recording got a caption, and nothing is no reason to replace an earlier output
        return
    try:
        with (
            written_whole(target) as temporary,
            temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
        ):
            file.writelines(chain([first], parts))
    except OSError as error:
        raise _unwritten(target, error) from error


def _unwritten(target: Path, error: OSError) -> OtoscribeError:
    return OtoscribeError(f"{target} cannot be written: {_reason(error)}. Choose another --output.")


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
