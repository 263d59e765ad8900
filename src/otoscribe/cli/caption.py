"""`otoscribe caption FILE...`: recordings in, captions out, as text, JSON, JSON Lines or CSV."""

import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from otoscribe.cli import terminal
from otoscribe.cli.options import Beam, Format, OutputFile, Ray, Share, Threads
from otoscribe.cli.output import Output
from otoscribe.errors import UsageError

if TYPE_CHECKING:
    from otoscribe.audio.channels import Channel
    from otoscribe.cli.formats import Result
    from otoscribe.listen.groups import How, Results


def caption(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE",
            help="Recordings, in any format that FFmpeg reads, or folders of them; - is standard input.",
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
    shard: Share = None,
    ray: Ray = None,
) -> None:
    """Write down what is heard in each recording."""
    # Here and not at the top: `otoscribe --help` need not wait for ONNX Runtime.
    from otoscribe.cli.formats import form_of
    from otoscribe.listen.captioner import BUNDLED, Captioner
    from otoscribe.listen.folders import recordings_in
    from otoscribe.listen.results import Failure

    shared = shard is not None or ray is not None
    if shared and "-" in files:
        raise UsageError(
            "Standard input cannot be shared out. Save it to a file, or name no --shard and --ray."
        )
    files = recordings_in(files)
    several = len(files) > 1
    groups = _groups(files, shard) if shared else [files]
    files = list(chain.from_iterable(groups))
    failed, last_said = False, ""
    with terminal.quiet_libraries(), terminal.ProgressBar(len(files if ray is None else groups)) as bar:

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

        target = None if output is None else Output("--output", output, files)
        if target is not None and Path(os.path.realpath(model or BUNDLED)) in target.path.parents:
            raise UsageError(
                f"{output} lies in the model's folder and would damage it; choose another folder."
            )
        how = partial(
            Captioner.caption_many, channel=_channel(channel), style=style, beam=beam, candidates=candidates
        )
        recordings = (_standard_input() if file == "-" else file for file in bar.counted(files))
        # Also for a cluster, so that what is impossible is refused before anything begins.
        results = how(Captioner(model, threads), recordings)
        if ray is not None:
            results = chain.from_iterable(bar.counted(_on_ray(ray, groups, model, threads or 1, how)))
        parts = form_of(form, several)(reported(results))
        if target is not None:
            # An empty share has an empty file, so that one of before does not pass for it.
            target.write(parts if files else chain(parts, [""]))
        else:
            if form is Format.CSV and isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(newline="")  # on Windows \r\n would become \r\r\n
            for part in parts:
                bar.write(part, sys.stdout)
    if failed:
        raise typer.Exit(1)


def _groups(files: list[str], shard: str | None) -> list[Sequence[str]]:
    """Return what is captioned together, of all files or of a share."""
    from otoscribe.listen.captioner import TOGETHER
    from otoscribe.spread.shard import Shard, grouped

    groups = grouped(files, TOGETHER)
    return groups if shard is None else Shard.read(shard).share(groups)


def _on_ray(
    address: str, groups: Sequence[Sequence[str]], model: str | None, threads: int, how: "How"
) -> "Iterator[Results]":
    from otoscribe.listen.groups import caption_groups
    from otoscribe.spread.ray_cluster import on_ray

    backend, _ = on_ray(address, threads)
    return caption_groups(groups, backend, model, threads, how)


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
