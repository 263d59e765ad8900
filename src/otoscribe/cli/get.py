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
    """Get what is not part of otoscribe, or list it: files of metrics, data sets, encoders, words."""
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
    known = {asset.name: asset for asset in (*_metrics(), *_datasets())}
    if name in known:
        return known[name]
    if name in _names("words"):
        return _words(name)
    if ":" not in name and name not in _names("encoders"):
        raise unknown_name("download", name, [*known, *_names("encoders"), *_names("words")])
    return _encoder(name)


def _all_rows() -> Iterator[Row]:
    yield from map(Row.of, (*_metrics(), *_datasets()))
    for kind, asset in (("encoders", _encoder), ("words", _words)):
        try:
            for name in _names(kind):
                with contextlib.suppress(UsageError):  # one without published files
                    yield Row.of(asset(name))
        except ModuleNotFoundError:
            from otoscribe.fetch.assets import FOR_TRAINING

            for name in _names(kind):
                folder = str(files.cache_folder() / kind / name)
                yield Row(
                    name, FOR_TRAINING[kind], None, None, None, folder, "pip install 'otoscribe[train]'"
                )


def _metrics() -> "list[Asset]":
    from otoscribe.metrics.fense import networks
    from otoscribe.metrics.java.spice_files import SpiceFiles

    return [SpiceFiles(), networks.asset()]


def _datasets() -> "list[Asset]":
    """Return the data sets of which something is published in a way that can be checked."""
    from otoscribe.datasets.corpora.base import DATASETS

    datasets = [DATASETS.build(name) for name in DATASETS]
    return [dataset.asset() for dataset in datasets if dataset.spec.tables]


def _names(kind: str) -> list[str]:
    """Return the names of encoders or words without importing any, as they need PyTorch."""
    return list(Registry(kind, object, f"otoscribe.model.{kind}"))


def _encoder(name: str) -> "Asset":
    from otoscribe.model.encoders.base import ENCODERS, weights_asset

    return weights_asset(name, ENCODERS[name].spec)


def _words(name: str) -> "Asset":
    from otoscribe.fetch.assets import FOR_TRAINING, FileSet
    from otoscribe.model.vectors.published import words_folder
    from otoscribe.model.words.base import WORDS

    spec = WORDS[name].spec
    if spec is None:
        raise UsageError(f"The words {name!r} have no published files to get.")
    sizes = [file.bytes for file in spec.files[0]]
    size = None if None in sizes else sum(size or 0 for size in sizes)
    return FileSet(name, FOR_TRAINING["words"], spec.licence, size, words_folder(spec.name), spec.files)
