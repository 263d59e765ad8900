"""Recordings with captions, as folders with a CSV describe them (`file_name,caption_1,caption_2,...`)."""

import hashlib
import json
import os
import unicodedata
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from otoscribe import files
from otoscribe.errors import AudioError, TableError, TableWarning
from otoscribe.text.names import some
from otoscribe.text.tables import read_references
from otoscribe.text.vocabulary import words_of


@dataclass(frozen=True)
class CaptionedClip:
    """One recording and what people wrote about it, at least one caption."""

    path: Path
    captions: tuple[str, ...]

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the recording's bytes, as 64 hexadecimal digits.

        Raises:
            AudioError: the recording cannot be read.
        """
        try:
            return files.sha256(self.path)
        except OSError as error:
            raise AudioError(
                f"{self.path} cannot be read: {(error.strerror or str(error)).lower()}."
            ) from error


def fingerprint(clips: Iterable[CaptionedClip]) -> str:
    """Return 64 hexadecimal digits that tell recordings and captions from others, in this order.

    Neither folders nor names of files count: copies of the recordings elsewhere have the same.

    Raises:
        AudioError: a recording cannot be read.
    """
    digest = hashlib.sha256()
    for clip in clips:
        digest.update(json.dumps([clip.sha256, *clip.captions]).encode() + b"\n")
    return digest.hexdigest()


def read_pairs(source: Path, skip_missing: bool = False) -> list[CaptionedClip]:
    """Read recordings and captions in the order of the table.

    Args:
        source: a table in the layout of Clotho (`tables.read_references`), its `file_name` relative to its
            own folder; or a folder that holds exactly one CSV. Captions without a word are skipped.
        skip_missing: go on without recordings that are not there, with a `TableWarning` that counts them.

    Raises:
        TableError: there is no such table, its columns are others, recordings are missing, all of them or
            without `skip_missing` any, one is listed twice, or one has no caption.
    """
    table = _table(source)
    clips: dict[Path, CaptionedClip] = {}
    missing: list[str] = []
    for name, written in read_references(table).items():
        captions = tuple(caption for caption in written if words_of(caption))
        if not captions:
            raise TableError(f"{table} has no caption for {name}; write one or remove the row.")
        path = _found(table.parent, name)
        if path is None:
            missing.append(name)
        elif path in clips:  # by two names, "a.wav" and "./a.wav"
            raise TableError(f"{table} lists {name} twice; give each recording one row.")
        else:
            clips[path] = CaptionedClip(path, captions)
    if not clips:
        raise TableError(
            f"None of the {len(missing)} recordings in {table} is there: {some(missing)}. "
            f"Their names are relative to {table.parent}."
        )
    if missing:
        counted = f"{len(missing)} of {len(missing) + len(clips)} recordings in {table}"
        if not skip_missing:
            raise TableError(
                f"Missing are {counted}: {', '.join(map(repr, missing))}. Put them there, or go on without: "
                "--skip-missing"
            )
        warnings.warn(f"Left out, because they are missing: {counted}, {some(missing)}.", TableWarning, 2)
    return list(clips.values())


def _table(source: Path) -> Path:
    if not source.is_dir():
        if not source.is_file():
            raise TableError(
                f"There is no {source}. Name a folder of recordings with a CSV in it, or the CSV."
            )
        return source
    tables = sorted(source.glob("*.csv"))
    if len(tables) != 1:
        found = ", ".join(table.name for table in tables) or "none"
        raise TableError(
            f"The folder {source} must hold exactly one CSV; found: {found}. Name the CSV itself."
        )
    return tables[0]


def _found(folder: Path, name: str) -> Path | None:
    """Return a recording, also where the table spells its name as another system would."""
    slashes = name.replace("\\", "/")
    composed = [unicodedata.normalize(form, slashes) for form in ("NFC", "NFD")]
    for spelled in (name, slashes, *composed):
        if os.path.isfile(folder / spelled):  # noqa: PTH113 (a name may be one that no file can have)
            return folder / spelled
    return None
