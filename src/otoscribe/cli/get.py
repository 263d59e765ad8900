"""`otoscribe get NAME...`: everything that is fetched once, from the network or from a folder."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otoscribe import files
from otoscribe.cli import terminal
from otoscribe.cli.options import TextOrJson
from otoscribe.errors import UsageError, unknown_name
from otoscribe.registry import Registry

if TYPE_CHECKING:
    from otoscribe.fetch.assets import Asset


def get(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="What to get.", show_default="a list of what there is"),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FOLDER", help="Copy from this folder.", show_default="the network"),
    ] = None,
    form: Annotated[
        TextOrJson, typer.Option("--format", help="Lines for people, or one JSON array.")
    ] = TextOrJson.TEXT,
) -> None:
    """Get what is not part of otoscribe, or list it: files of metrics, weights of encoders."""
    if source is not None and not names:
        raise UsageError(f"Say what to get from {source}: otoscribe get NAME --from FOLDER.")
    chosen = [_find(name) for name in dict.fromkeys(names or [])]
    with terminal.Bars() as bars:
        for asset in chosen:
            if source is None:
                asset.install(bars.show)
            else:
                asset.install_from(source)
    rows = [Row.of(asset) for asset in chosen] or list(_all_rows())
    if form is TextOrJson.JSON:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    elif chosen:
        for row in rows:
            print(terminal.printable(f"{row.name} is in {row.folder}"))
    else:
        print("\n".join(_table(rows)))


@dataclass(frozen=True)
class Row:
    """What the list says of one asset; None is not known before `needs` was typed."""

    name: str
    purpose: str
    bytes: int | None
    licence: str | None
    state: str | None
    folder: str
    needs: str | None

    @classmethod
    def of(cls, asset: "Asset") -> "Row":
        """Look at what is here."""
        size, state = asset.bytes, asset.state().value
        return cls(asset.name, asset.purpose, size, asset.licence, state, str(asset.folder), None)


def _table(rows: list[Row]) -> Iterator[str]:
    """Yield the lines of the list."""
    cells = [("name", "what for", "size", "licence", "here", "where")]
    for row in rows:
        size = "?" if row.bytes is None else f"{row.bytes / 1e6:.0f} MB"
        cells.append((row.name, row.purpose, size, row.licence or "?", row.state or "?", row.folder))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for name, purpose, size, *others in cells:
        texts = (f"{text:{width}}" for text, width in zip(others, widths[3:], strict=True))
        line = "  ".join([f"{name:{widths[0]}}", f"{purpose:{widths[1]}}", f"{size:>{widths[2]}}", *texts])
        yield terminal.printable(line.rstrip())
    for needs in dict.fromkeys(row.needs for row in rows if row.needs):
        yield f"For what is ? here, type: {needs}"


# Imports from here on and not at the top: `otoscribe --help` need not wait for them.


def _find(name: str) -> "Asset":
    """Return what is called so.

    Raises:
        UsageError: nothing is.
    """
    metrics = {asset.name: asset for asset in _metrics()}
    if name in metrics:
        return metrics[name]
    if ":" not in name and name not in _encoder_names():
        raise unknown_name("download", name, [*metrics, *_encoder_names()])
    return _encoder(name)


def _all_rows() -> Iterator[Row]:
    yield from map(Row.of, _metrics())
    try:
        for name in _encoder_names():
            with contextlib.suppress(UsageError):  # somebody's own, without published weights
                yield Row.of(_encoder(name))
    except ModuleNotFoundError:
        from otoscribe.fetch.assets import FOR_TRAINING

        for name in _encoder_names():
            folder = str(files.cache_folder() / "encoders" / name)
            yield Row(name, FOR_TRAINING, None, None, None, folder, "pip install 'otoscribe[train]'")


def _metrics() -> "list[Asset]":
    from otoscribe.metrics.fense import networks
    from otoscribe.metrics.java.spice_files import SpiceFiles

    return [SpiceFiles(), networks.asset()]


def _encoder_names() -> list[str]:
    """Return the names of encoders without importing any, as they need PyTorch."""
    return list(Registry("encoder", object, "otoscribe.model.encoders"))


def _encoder(name: str) -> "Asset":
    from otoscribe.model.encoders.base import ENCODERS, weights_asset

    return weights_asset(name, ENCODERS[name].spec)
