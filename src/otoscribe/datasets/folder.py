"""Recordings with captions, as folders with a CSV describe them (`file_name,caption_1,caption_2,...`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from otoscribe.errors import MetricError, RunError
from otoscribe.text.tables import read_references
from otoscribe.text.vocabulary import words_of


@dataclass(frozen=True)
class CaptionedClip:
    """One recording and what people wrote about it, at least one caption."""

    path: Path
    captions: tuple[str, ...]


def read_pairs(source: Path) -> list[CaptionedClip]:
    """Read recordings and captions in the order of the table.

    Args:
        source: a table in the layout of Clotho (`tables.read_references`), its `file_name` relative to its
            own folder; or a folder that holds exactly one CSV. Captions without a word are skipped.

    Raises:
        RunError: there is no such table, its columns are others, a recording is missing or listed twice, or
            a recording has no caption.
    """
    table = _table(source)
    try:
        listed = read_references(table)
    except MetricError as error:
        raise RunError(str(error)) from error
    clips = [
        CaptionedClip(table.parent / name, tuple(caption for caption in captions if words_of(caption)))
        for name, captions in listed.items()
    ]
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
    seen: set[Path] = set()
    for clip in clips:
        if clip.path in seen:  # by two names, "a.wav" and "./a.wav"
            raise RunError(f"{table} lists {clip.path.name} twice; give each recording one row.")
        seen.add(clip.path)
        if not clip.path.is_file():
            raise RunError(f"{table} lists {clip.path}, which does not exist.")
        if not clip.captions:
            raise RunError(f"{table} has no caption for {clip.path.name}; write one or remove the row.")
