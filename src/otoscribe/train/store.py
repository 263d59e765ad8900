"""What encoders made of recordings, on disk: computed once, and never that of another recording or recipe.

    features/
      1c9f0b6a52d3e884/    one recipe: the name is the hash of recipe.json
        recipe.json        everything that decides what is made of a recording: encoder, weights, version
        *.values *.index   the embeddings, by the hash of the recording's bytes, see `shards`

Any number of processes may read and write. Each writes shards of its own, sees what the others have written,
and may be killed at any byte. Checksums tell what is damaged: it is reported and computed again.
"""

import hashlib
import json
import warnings
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from otoscribe.errors import RunError
from otoscribe.files import write_text
from otoscribe.train.shards import (
    Embedding,
    Entry,
    ShardMap,
    ShardWriter,
    is_whole,
    read_entries,
    shards_in,
    values_of,
)

FORMAT = 1
"""Of the files; raised when they change."""
RECIPE = "recipe.json"

Kind = Literal["float32", "float16"]
"""How values are stored."""
KINDS: dict[Kind, np.dtype[np.floating]] = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}


class Store:
    """The embeddings of one recipe, in a folder that recipes and processes share.

    Args:
        folder: where recipes go; nothing is made before something is added.
        description: everything that decides what is made of a recording, as JSON can hold it.
        kind: how values are stored.

    Raises:
        RunError: the recipe on disk is damaged.
    """

    def __init__(self, folder: Path, description: Mapping[str, Any], kind: Kind = "float32") -> None:
        self._recipe = recipe_text(description, kind)
        self.folder = folder / recipe_name(self._recipe)
        self._kind = KINDS[kind]
        self._entries: dict[bytes, list[Entry]] = defaultdict(list)
        self._read: dict[Path, int] = {}
        self._whole: dict[bytes, Entry] = {}
        self._maps: dict[Path, ShardMap] = {}
        self._writer: ShardWriter | None = None
        path = self.folder / RECIPE
        if path.is_file() and path.read_bytes() != self._recipe.encode():
            raise RunError(
                f"{path} is damaged: it is not the recipe that its folder is named by. Delete {self.folder}."
            )

    def __contains__(self, sha256: str) -> bool:
        """Tell whether a recording's embedding is there, and whole; asks the disk what is new.

        Args:
            sha256: hash of the recording's bytes, hexadecimal.
        """
        key = bytes.fromhex(sha256)
        if key in self._whole or self._finds(key):
            return True
        self._refresh()
        return self._finds(key)

    def __getitem__(self, sha256: str) -> Embedding:
        """Return a recording's embedding, mapped and not copied.

        Raises:
            KeyError: it is not there.
        """
        while sha256 in self:
            entry = self._whole[bytes.fromhex(sha256)]
            shard = self._maps.setdefault(entry.shard, ShardMap(entry.shard, self._kind))
            try:
                return shard.at(entry)
            except FileNotFoundError:  # pruned meanwhile; another shard has it now
                del self._whole[entry.key]
        raise KeyError(sha256)

    def release(self) -> None:
        """Hold no embedding in memory; those that were returned are read again when they are used."""
        for shard in self._maps.values():
            shard.release()

    def add(self, sha256: str, embedding: Embedding) -> None:
        """Write a recording's embedding, in the precision of the store.

        Raises:
            RunError: it cannot be written.
        """
        with np.errstate(over="ignore"):  # which is reported as an error below
            stored = Embedding(embedding.values.astype(self._kind), embedding.times)
        if not np.isfinite(stored.values).all():
            raise RunError(
                f"An embedding holds numbers that {self._kind} cannot. Choose data.precision float32, or "
                "other weights if it is that."
            )
        try:
            if self._writer is None:
                write_recipe(self.folder, self._recipe)
                self._writer = ShardWriter(self.folder)
            self._writer.append(bytes.fromhex(sha256), stored)
        except OSError as error:
            self.close()  # what follows half a record could not be read
            reason = (error.strerror or str(error)).lower()
            raise RunError(
                f"Embeddings cannot be stored in {self.folder.parent}: {reason}. "
                "Free space there or choose another folder."
            ) from error

    def close(self) -> None:
        """Finish the shard; the next embedding that is added begins another."""
        if self._writer:
            self._writer.close()
        self._writer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _finds(self, key: bytes) -> bool:
        """Choose a whole one of the entries that are known; what is damaged is reported once."""
        for entry in self._entries.pop(key, []):
            if self._is_whole(entry):
                self._whole[key] = entry
                return True
        return False

    def _refresh(self) -> None:
        """Read what was written since the last time, by any process."""
        for shard in shards_in(self.folder):
            known = self._read.get(shard, 0)
            entries = read_entries(shard, known)
            self._read[shard] = known + len(entries)
            for entry in filter(None, entries):
                self._entries[entry.key].append(entry)

    def _is_whole(self, entry: Entry) -> bool:
        whole = is_whole(entry, self._kind)
        if not whole and values_of(entry.shard).exists():  # else it was pruned meanwhile
            warnings.warn(
                f"An embedding in {entry.shard}.values is damaged and is computed again. "
                "To find out about others: otoscribe store verify",
                stacklevel=4,
            )
        return whole


def recipe_text(description: Mapping[str, Any], kind: Kind) -> str:
    """Return what recipe.json holds."""
    return json.dumps({**description, "format": FORMAT, "stored": kind}, indent=2, sort_keys=True) + "\n"


def recipe_name(text: str) -> str:
    """Return the folder of a recipe."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_recipe(folder: Path, text: str) -> None:
    """Make a recipe's folder, unless it is there."""
    if not (folder / RECIPE).is_file():
        write_text(folder / RECIPE, text)
