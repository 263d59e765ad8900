"""Recordings with captions, as folders with a CSV describe them (`file_name,caption_1,caption_2,...`)."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from otoscribe.errors import RunError
from otoscribe.vocabulary import words_of


@dataclass(frozen=True)
class CaptionedClip:
    """One recording and what people wrote about it, at least one caption."""

    path: Path
    captions: tuple[str, ...]


def read_pairs(source: Path) -> list[CaptionedClip]:
    """Read recordings and captions in the order of the table.

    Args:
        source: a CSV in the layout of Clotho, its `file_name` relative to its own folder; or a folder that
            holds exactly one CSV. Other columns are ignored, empty captions skipped.

    Raises:
        RunError: there is no such table, its columns are others, a recording is missing or listed twice, or
            a recording has no caption.
    """
    table = _table(source)
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            columns = list(rows.fieldnames or [])
            captions = sorted(
                (name for name in columns if re.fullmatch(r"caption_\d+", name)),
                key=lambda name: int(name.removeprefix("caption_")),
            )
            if "file_name" not in columns or not captions:
                raise RunError(
                    f"{table} has the columns {', '.join(columns) or '(none)'}; it needs file_name and "
                    f"caption_1, caption_2 and so on."
                )
            clips = [
                CaptionedClip(
                    table.parent / (row["file_name"] or ""),
                    tuple(row[name].strip() for name in captions if words_of(row[name] or "")),
                )
                for row in rows
            ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise RunError(f"{table} is not a CSV in UTF-8: {error}. Save it as one.") from error
    _check(table, clips)
    return clips


def _table(source: Path) -> Path:
    if not source.is_dir():
        if not source.is_file():
            raise RunError(f"There is no {source}. Name a folder of recordings with a CSV in it, or the CSV.")
        return source
    tables = sorted(source.glob("*.csv"))
    if len(tables) != 1:
        found = ", ".join(table.name for table in tables) or "none"
        raise RunError(f"The folder {source} must hold exactly one CSV; found: {found}. Name the CSV itself.")
    return tables[0]


def _check(table: Path, clips: Sequence[CaptionedClip]) -> None:
    if not clips:
        raise RunError(f"{table} lists no recordings.")
    seen: set[Path] = set()
    for clip in clips:
        if clip.path in seen:
            raise RunError(f"{table} lists {clip.path.name} twice; give each recording one row.")
        seen.add(clip.path)
        if not clip.path.is_file():
            raise RunError(f"{table} lists {clip.path}, which does not exist.")
        if not clip.captions:
            raise RunError(f"{table} has no caption for {clip.path.name}; write one or remove the row.")
