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
from otoscribe.text.tables import Captions, read_references
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


@dataclass(frozen=True)
class Listed:
    """Recordings as a table lists them, which are there or not."""

    table: Path
    """For messages."""
    folder: Path
    """That names are relative to."""
    captions: Captions
    """By the recording's name."""

    def path_of(self, name: str) -> Path | None:
        """Return a recording, also where the table spells its name as another system would."""
        slashes = name.replace("\\", "/")
        composed = [unicodedata.normalize(form, slashes) for form in ("NFC", "NFD")]
        for spelled in (name, slashes, *composed):
            if os.path.isfile(self.folder / spelled):  # noqa: PTH113 (a name may be one that no file can have)
                return self.folder / spelled
        return None

    def clips(self, skip_missing: bool = False) -> list[CaptionedClip]:
        """Return the recordings that are there, in the order of the table, without captions of no word.

        Args:
            skip_missing: go on without recordings that are not there, with a `TableWarning` that counts them.

        Raises:
            TableError: recordings are missing, all of them or without `skip_missing` any, one is listed
                twice, or one has no caption.
        """
        clips: dict[Path, CaptionedClip] = {}
        missing: list[str] = []
        for name, written in self.captions.items():
            captions = tuple(caption for caption in written if words_of(caption))
            if not captions:
                raise TableError(f"{self.table} has no caption for {name}; write one or remove the row.")
            path = self.path_of(name)
            if path is None:
                missing.append(name)
            elif path in clips:  # by two names, "a.wav" and "./a.wav"
                raise TableError(f"{self.table} lists {name} twice; give each recording one row.")
            else:
                clips[path] = CaptionedClip(path, captions)
        if not clips:
            raise TableError(
                f"None of the {len(missing)} recordings in {self.table} is there: {some(missing)}. "
                f"Their names are relative to {self.folder}."
            )
        if missing:
            counted = f"{len(missing)} of {len(missing) + len(clips)} recordings in {self.table}"
            if not skip_missing:
                raise TableError(
                    f"Missing are {counted}: {', '.join(map(repr, missing))}. Put them there, or go on "
                    "without: --skip-missing"
                )
            warnings.warn(f"Left out, because they are missing: {counted}, {some(missing)}.", TableWarning, 2)
        return list(clips.values())


def read_listed(source: Path) -> Listed:
    """Read what a table lists.

    Args:
        source: a table in the layout of Clotho (`tables.read_references`), its `file_name` relative to its
            own folder; or a folder that holds exactly one CSV.

    Raises:
        TableError: there is no such table, or its columns are others.
    """
    table = _table(source)
    return Listed(table, table.parent, read_references(table))


def read_pairs(source: Path, skip_missing: bool = False) -> list[CaptionedClip]:
    """Read recordings and captions; see `read_listed` and `Listed.clips`."""
    return read_listed(source).clips(skip_missing)


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
