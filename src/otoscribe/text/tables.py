"""Tables of captions, as data sets and captioners write them → captions by recording.

| file | what it is |
|---|---|
| CSV with `file_name,caption_1,caption_2,...` | the layout of Clotho: references, or several candidates |
| CSV with `audiocap_id,youtube_id,start_time,caption` | the layout of AudioCaps: references |
| CSV with `file_name,caption` | candidates; or references, a row a caption |
| CSV with `file_name,caption_predicted` | the layout of DCASE's challenge: candidates |
| CSV with `file,caption,...,rank,error` | what `otoscribe caption` writes: candidates |
| JSON with the same keys, or a list of texts in `captions` | an array of objects, or an object a line |
| JSON with `image_id,caption` | the layout of COCO's results: candidates |
| lines `FILE: CAPTION  (confidence 42 %)` | what `otoscribe caption` prints: candidates |
"""

import re
import warnings
from pathlib import Path

from otoscribe.errors import TableError, TableWarning
from otoscribe.text.layout import NUMBERED, Layout, Row
from otoscribe.text.names import match, some
from otoscribe.text.rows import read_rows

Captions = dict[str, tuple[str, ...]]
"""Each recording's captions by its name, in the order of the file."""

_REFERENCES = Layout(
    names=("file_name", "youtube_id"),
    captions=("caption",),
    needed="file_name (or youtube_id), and caption_1, caption_2 and so on, or a row for each caption",
)
_CANDIDATES = Layout(
    names=("file_name", "file", "image_id", "youtube_id"),
    captions=("caption", "caption_predicted", "error"),
    needed="file_name (or file, or image_id) and caption (or caption_predicted, or caption_1, caption_2 ...)",
)


def read_pairing(candidates: Path, references: Path) -> tuple[Captions, Captions]:
    """Read two tables, and find which candidates and references are about the same recording (`names.match`).

    Returns:
        Candidates and references, both by the references' names and in their order. Candidates that no
        reference is about are left out, with a `TableWarning` that counts them.

    Raises:
        TableError: either cannot be read; a name may mean two recordings; or a recording that has references
            has no candidate, or an error instead of one.
    """
    wanted, starts = _read_references(references)
    given = read_candidates(candidates)
    about = match(given, wanted, starts)
    if not about:
        raise TableError(
            f"No candidate is about a recording of the references: {candidates} has names like "
            f"{next(iter(given))!r}, {references} like {next(iter(wanted))!r}."
        )
    failed = [name for name in about if not given[name]]
    if failed:
        raise TableError(
            f"{candidates} has an error instead of a caption for {some(failed)}. Caption again, or remove "
            f"what {references} says of it."
        )
    named = {about[name]: given[name] for name in about}
    without = [name for name in wanted if name not in named]
    if without:
        raise TableError(
            f"{len(without)} of {len(wanted)} recordings in {references} have no candidate in {candidates}: "
            f"{some(without)}. Add candidates, or remove the references."
        )
    left_out = [name for name in given if name not in about]
    if left_out:
        warnings.warn(
            f"Left out, because no reference is about them: {len(left_out)} of {len(given)} candidates, "
            f"{some(left_out)}.",
            TableWarning,
            2,
        )
    return {name: named[name] for name in wanted}, wanted


def read_references(path: Path) -> Captions:
    """Read what people wrote about recordings.

    Args:
        path: a table in the layout of Clotho, with captions in `caption_1`, `caption_2` and so on, or in JSON
            also in a list `captions`; or with one `caption` a row, and a row for each caption of a
            recording, as AudioCaps has it. Other columns are ignored.

    Returns:
        Captions by `file_name`, else `youtube_id`, which is kept exactly as it stands there. Empty captions
        are left out, white space around captions is too.

    Raises:
        TableError: the file cannot be read or is not such a table, it lists no recording, a recording has no
            caption, or one with numbered captions is listed twice.
    """
    return _read_references(path)[0]


def _read_references(path: Path) -> tuple[Captions, dict[str, float]]:
    """Return the captions, and the seconds at which clips of YouTube begin."""
    first: dict[str, Row] = {}
    captions: dict[str, list[str]] = {}
    starts: dict[str, float] = {}
    for row in read_rows(path, _REFERENCES):
        other = first.setdefault(row.name, row)
        if other is not row and (_numbered(row) or _numbered(other)):
            raise _twice(path, other, row)
        if other.cells.get("start_time") != row.cells.get("start_time"):
            raise TableError(
                f"{path} has two clips of {row.name}, in {other.place} and {row.place}; "
                "add a column file_name that tells them apart."
            )
        captions.setdefault(row.name, []).extend(_numbered(row) or [row.cells["caption"].strip()])
        if "youtube_id" in row.cells and "file_name" not in row.cells:
            starts[row.name] = _seconds(row.cells.get("start_time", ""))
    references = {name: tuple(filter(None, texts)) for name, texts in captions.items()}
    for name, texts in references.items():
        if not texts:
            raise TableError(f"{path} has no caption for {name}; write one or remove the row.")
    return references, starts


def clip_starts(path: Path) -> dict[str, float]:
    """Return the seconds at which the clips of a table in AudioCaps' layout begin, by YouTube id.

    Raises:
        TableError: as `read_references`.
    """
    return _read_references(path)[1]


def read_candidates(path: Path) -> Captions:
    """Read what a captioner wrote about recordings.

    Args:
        path: a table in one of the layouts above. Several candidates of a recording, the best first, are
            numbered as Clotho's references are, or stand in rows with different `rank`. Other columns are
            ignored.

    Returns:
        Captions by name, which is kept exactly as it stands there; none where the captioner gave an error
        instead. An empty caption stays, since it is what the captioner wrote; but those after the last one
        with words fill up the table, and are left out. White space around captions is too.

    Raises:
        TableError: the file cannot be read or is not such a table, or it lists no recording or one twice.
    """
    found: dict[str, dict[int, Row]] = {}
    for row in read_rows(path, _CANDIDATES):
        ranked = found.setdefault(row.name, {})
        if row.cells.get("error") and not any(_written(row)):
            continue
        rank = row.cells.get("rank") or "1"
        if not re.fullmatch("[0-9]{1,9}", rank):
            raise TableError(f"{path} has the rank {rank!r} in {row.place}; ranks count from 1.")
        if int(rank) in ranked:
            raise _twice(path, ranked[int(rank)], row)
        ranked[int(rank)] = row
    return {
        name: _unfilled([text for rank in sorted(ranked) for text in _written(ranked[rank])])
        for name, ranked in found.items()
    }


def _written(row: Row) -> list[str]:
    """Return the captions of a row: the one, or all that are numbered."""
    for column in ("caption", "caption_predicted"):
        if column in row.cells:
            return [row.cells[column].strip()]
    return _numbered(row)


def _numbered(row: Row) -> list[str]:
    columns = filter(NUMBERED.fullmatch, row.cells)
    ordered = sorted(columns, key=lambda name: int(name.removeprefix("caption_")))
    return [row.cells[name].strip() for name in ordered]


def _unfilled(captions: list[str]) -> tuple[str, ...]:
    """Remove empty captions from the end; one stays, if there was any."""
    while len(captions) > 1 and not captions[-1]:
        captions.pop()
    return tuple(captions)


def _seconds(text: str) -> float:
    """Return a start; one that is not stated is no number, and equals none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _twice(path: Path, first: Row, second: Row) -> TableError:
    return TableError(
        f"{path} lists {first.name} twice, in {first.place} and {second.place}; list each recording once."
    )
