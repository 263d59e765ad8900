"""The store's upkeep: what it holds, what is damaged, and how to be rid of what nothing reads."""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otoscribe.errors import RunError
from otoscribe.train.shards import (
    RECORD,
    Entry,
    ShardMap,
    ShardWriter,
    index_of,
    is_in_use,
    is_whole,
    read_entries,
    remove,
    shards_in,
    values_of,
)
from otoscribe.train.store import KINDS, RECIPE, recipe_name


@dataclass(frozen=True)
class Contents:
    """What one recipe's folder holds."""

    folder: Path
    recipe: Mapping[str, Any] | None
    """None if it is missing or damaged: then nothing reads the embeddings."""
    embeddings: int
    """That are whole, each recording counted once."""
    copies: int
    """Second ones of a recording, which two processes made at the same time."""
    damaged: int
    """Embeddings, or records of them."""
    shards: int
    bytes: int
    """On disk, all files."""


def verify(folder: Path) -> Iterator[Contents]:
    """Read every byte of a store, and say what each recipe holds.

    Raises:
        RunError: there is no such folder.
    """
    for place in _places(folder):
        yield _look(place)[0]


def prune(folder: Path, outdated: Callable[[Mapping[str, Any]], bool]) -> Iterator[tuple[Contents, int]]:
    """Free what nothing reads: damaged and second embeddings, what killed processes left, and old recipes.

    A recipe's shards become one, written before the others are removed: whenever this is killed, nothing is
    lost. Shards to which a process appends are left alone.

    Args:
        folder: the store.
        outdated: tells whether no embedding of a recipe is read any more.

    Yields:
        What each recipe held, and how many bytes were freed.

    Raises:
        RunError: there is no such folder, or it cannot be written.
    """
    for place in _places(folder):
        try:
            contents, entries = _look(place)
            if contents.recipe is None or outdated(contents.recipe):
                entries = []
            _merge(place, contents, entries)
            # What others wrote meanwhile, or one longer index, is no loss that anybody asked for.
            yield contents, max(0, contents.bytes - _size(place))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise RunError(f"{place} cannot be pruned: {reason}.") from error


def _places(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise RunError(
            f"There is no folder {folder}. Name a folder of embeddings, as `otoscribe embed` makes."
        )
    return sorted(path for path in folder.iterdir() if re.fullmatch("[0-9a-f]{16}", path.name))


def _look(place: Path) -> tuple[Contents, list[Entry]]:
    """Return what a folder holds, and one whole entry for each recording."""
    recipe = _recipe(place)
    shards = shards_in(place)
    found: dict[bytes, Entry] = {}
    copies = damaged = 0
    for shard in shards:
        for entry in read_entries(shard):
            if recipe is None or entry is None or not is_whole(entry, KINDS[recipe["stored"]]):
                damaged += 1
            elif entry.key in found:
                copies += 1
            else:
                found[entry.key] = entry
    contents = Contents(place, recipe, len(found), copies, damaged, len(shards), _size(place))
    return contents, list(found.values())


def _recipe(place: Path) -> dict[str, Any] | None:
    try:
        text = (place / RECIPE).read_bytes().decode()
        return dict(json.loads(text)) if recipe_name(text) == place.name else None
    except (OSError, ValueError):
        return None


def _merge(place: Path, contents: Contents, entries: list[Entry]) -> None:
    """Bring some of a folder's embeddings into one shard, and remove everything else."""
    old = [shard for shard in shards_in(place) if not is_in_use(shard)]
    kept = [entry for entry in entries if entry.shard in old]
    if kept and contents.recipe:
        kind = KINDS[contents.recipe["stored"]]
        if _is_tidy(old, max(entry.start + entry.size(kind) for entry in kept), len(kept)):
            old = []
        else:
            maps = {shard: ShardMap(shard, kind) for shard in old}
            with ShardWriter(place) as writer:
                for entry in kept:
                    writer.append(entry.key, maps[entry.shard].at(entry))
    for shard in old:
        with contextlib.suppress(PermissionError):  # Windows: somebody reads it
            remove(shard)
    left = shards_in(place)
    known = {file for shard in left for file in (index_of(shard), values_of(shard), place / RECIPE)}
    for path in set(place.iterdir()) - known:  # what killed processes left
        path.unlink()
    if not left:
        place.rmdir()


def _is_tidy(shards: list[Path], end: int, entries: int) -> bool:
    """Tell whether all is one shard of so many entries, the last of which ends where the values do."""
    sizes = [(values_of(shard).stat().st_size, index_of(shard).stat().st_size) for shard in shards]
    return sizes == [(end, entries * RECORD.size)]


def _size(place: Path) -> int:
    return sum(path.stat().st_size for path in place.iterdir()) if place.is_dir() else 0
