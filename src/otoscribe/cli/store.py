"""`otoscribe store verify|prune [FOLDER]`: what is stored, whether it is whole, and tidying up."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from otoscribe.cli import terminal
from otoscribe.cli.options import TextOrJson

if TYPE_CHECKING:
    from otoscribe.train.upkeep import Contents

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of encoder outputs.")]
Form = Annotated[TextOrJson, typer.Option("--format", help="Lines for people, or one JSON array.")]

store = typer.Typer(help="Look after stored encoder outputs.", no_args_is_help=True)


@store.command()
def verify(folder: Folder = Path("features"), form: Form = TextOrJson.TEXT) -> None:
    """Read every byte of the store; 1 is returned if something is damaged."""
    from otoscribe.train import upkeep

    found = list(upkeep.verify(folder))
    _print([_row(contents) for contents in found], form)
    if any(contents.damaged or contents.recipe is None for contents in found):
        raise typer.Exit(1)


@store.command()
def prune(folder: Folder = Path("features"), form: Form = TextOrJson.TEXT) -> None:
    """Free what nothing reads: damaged embeddings, copies, remains of killed processes, old versions."""
    from otoscribe.train import upkeep
    from otoscribe.train.embed import is_outdated

    _print(
        [{**_row(contents), "freed": freed} for contents, freed in upkeep.prune(folder, is_outdated)], form
    )


def _row(contents: "Contents") -> dict[str, Any]:
    return {
        "folder": str(contents.folder),
        "recipe": contents.recipe,
        "embeddings": contents.embeddings,
        "copies": contents.copies,
        "damaged": contents.damaged,
        "shards": contents.shards,
        "bytes": contents.bytes,
    }


def _print(rows: Iterable[dict[str, Any]], form: TextOrJson) -> None:
    if form is TextOrJson.JSON:
        print(json.dumps(list(rows), indent=2))
        return
    for row in rows:
        recipe = row["recipe"]
        what = (
            " ".join(str(recipe[name]) for name in ("name", "output", "overlap", "stored") if name in recipe)
            if recipe
            else "recipe missing or damaged"
        )
        parts = [
            f"{row['embeddings']} embeddings",
            f"{row['bytes'] / 1e6:.1f} MB",
            f"{row['damaged']} damaged",
        ]
        if row["copies"]:
            parts.append(f"{row['copies']} copies")
        if "freed" in row:
            parts.append(f"{row['freed'] / 1e6:.1f} MB freed")
        print(terminal.printable(f"{row['folder']} ({what}): {', '.join(parts)}"))
