"""`otoscribe data check SOURCE...`: what is wrong with recordings and captions, before training."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otoscribe.cli import terminal
from otoscribe.cli.options import TextOrJson

if TYPE_CHECKING:
    from otoscribe.datasets.check import Part, Recording, Report

data = typer.Typer(help="Look at data sets.", no_args_is_help=True)

SHOWN = 10
"""Recordings that are named for each fault; all are in the JSON."""


@data.command()
def check(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            help="CSVs, folders with one in each, data sets (clotho) or their splits (clotho:development).",
        ),
    ],
    form: Annotated[
        TextOrJson, typer.Option("--format", help="Lines for people, or one JSON object.")
    ] = TextOrJson.TEXT,
) -> None:
    """Decode every recording; 1 is returned if one is missing, broken, or in two places."""
    # Here and not at the top: `otoscribe --help` need not wait for numpy.
    from otoscribe.datasets.check import check as check_parts

    parts = [part for source in sources for part in _parts(source)]
    with terminal.quiet_libraries(), terminal.Bars() as bars:
        report = check_parts(parts, bars.show)
    if form is TextOrJson.JSON:
        print(json.dumps({"clean": report.clean, **asdict(report)}, indent=2))
    else:
        for line in _lines(report):
            print(terminal.printable(line))
    if not report.clean:
        raise typer.Exit(1)


def _parts(source: Path) -> "Iterator[Part]":
    """Yield what a source means: the splits of a data set, one of them, or a table."""
    from otoscribe.datasets.check import Part
    from otoscribe.datasets.corpora.base import named_splits
    from otoscribe.datasets.folder import read_listed

    splits = named_splits(source)
    for split in splits:
        yield Part(split.name, split.listed(), split.origins(), split.published)
    if not splits:
        yield Part(str(source), read_listed(source), {})


def _lines(report: "Report") -> Iterator[str]:
    for part in report.parts:
        yield f"{part.name}: {part.recordings} recordings, {part.captions} captions, {part.hours:.2f} h"
        if part.published not in (None, part.recordings):
            yield f"  not the {part.published} that were published"
        yield from _named(f"{len(part.missing)} missing", part.missing)
        yield from _named(f"{len(part.undecodable)} cannot be decoded", list(part.undecodable.values()))
        odd = [f"{name}: {note}" for name, note in part.odd.items()]
        yield from _named(f"{len(odd)} odd, but decoded", odd)
    yield from _named(
        f"{len(report.duplicates)} sounds that are there more than once",
        list(map(_together, report.duplicates)),
    )
    yield from _named(
        f"{len(report.overlap)} sounds of Freesound in different parts",
        [f"{origin}: {_together(recordings)}" for origin, recordings in report.overlap.items()],
    )
    if report.clean:
        yield "Nothing is missing, broken, or there twice."


def _named(what: str, names: "list[str] | tuple[str, ...]") -> Iterator[str]:
    if names:
        yield f"  {what}:"
        yield from (f"    {name}" for name in names[:SHOWN])
        if len(names) > SHOWN:
            yield f"    and {len(names) - SHOWN} more (--format json lists all)"


def _together(recordings: "tuple[Recording, ...]") -> str:
    return " = ".join(f"{recording.part} {recording.name}" for recording in recordings)
