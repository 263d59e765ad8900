"""Tables of captions, as data sets and captioners write them → captions by recording.

| file | what it is |
|---|---|
| CSV with `file_name,caption_1,caption_2,...` | the layout of Clotho: references, or several candidates |
| CSV with `file_name,caption` | candidates |
| CSV with `file,caption,...,rank,error` | what `otoscribe caption --csv` writes: candidates |
| JSONL `{"file_name": "...", "caption": "..."}` | an object a line, with keys like a CSV's columns |
| JSONL `{"file_name": "...", "captions": ["...", "..."]}` | the same with a list of captions |
"""

import re
from collections.abc import Iterable
from pathlib import Path

from otoscribe.errors import MetricError
from otoscribe.text.rows import NUMBERED, Layout, Row, read_rows

Captions = dict[str, tuple[str, ...]]
"""Each recording's captions by its name, in the order of the file."""

_REFERENCES = Layout(
    "file_name and caption_1, caption_2 and so on",
    lambda columns: "file_name" in columns and any(map(NUMBERED.fullmatch, columns)),
)
_CANDIDATES = Layout(
    "file_name and caption",
    lambda columns: (
        _REFERENCES.fits(columns) or ("caption" in columns and ("file_name" in columns or "file" in columns))
    ),
)


def read_references(path: Path) -> Captions:
    """Read what people wrote about recordings.

    Args:
        path: a CSV or JSONL file in the layout of Clotho: `file_name`, with captions in `caption_1`,
            `caption_2` and so on, or in JSONL also in a list `captions`. Other columns are ignored.

    Returns:
        Captions by `file_name`, which is kept exactly as it stands there. Empty captions are left out, white
        space around captions is too.

    Raises:
        MetricError: the file cannot be read or is not such a table, it lists no recording or one twice, or a
            recording has no caption.
    """
    references: Captions = {}
    for name, cells in _by_name(path, read_rows(path, _REFERENCES)).items():
        references[name] = tuple(filter(None, _numbered(cells)))
        if not references[name]:
            raise MetricError(f"{path} has no caption for {name}; write one or remove the row.")
    return references


def read_candidates(path: Path) -> Captions:
    """Read what a captioner wrote about recordings.

    Args:
        path: a CSV or JSONL file with `file_name` and `caption`; or, with several candidates, the best first,
            in the layout of Clotho. Of what `otoscribe caption --csv` writes, `file` names the recording, and
            its captions are ordered by `rank`. Other columns are ignored.

    Returns:
        Captions by name, which is kept exactly as it stands there. An empty caption stays, since it is what
        the captioner wrote; but those after the last one with words fill up the table, and are left out.
        White space around captions is too.

    Raises:
        MetricError: the file cannot be read or is not such a table, it lists no recording or one twice, or a
            recording has an error instead of a caption.
    """
    rows = read_rows(path, _CANDIDATES)
    if "file_name" not in rows[0].cells:
        return _ranked(path, rows)
    return {
        name: _unfilled([cells["caption"].strip()] if "caption" in cells else _numbered(cells))
        for name, cells in _by_name(path, rows).items()
    }


def named_as(references: Captions, candidates: Captions) -> Captions:
    """Name candidates as the references are named, where a path says more than that.

    A captioner names a recording by its path, a data set often by the file alone: a candidate whose name no
    reference has gets the last part of its path for a name, if a reference is called so.

    Raises:
        MetricError: two candidates would get one name.
    """
    named: dict[str, str] = {}
    for name in candidates:
        # The recording may have been captioned on another system than this one.
        last = re.split(r"[/\\]", name)[-1]
        new = last if name not in references and last in references else name
        if new in named:
            raise MetricError(
                f"The candidates {named[new]!r} and {name!r} are both about the reference {new!r}; keep one."
            )
        named[new] = name
    return {new: candidates[name] for new, name in named.items()}


def _by_name(path: Path, rows: Iterable[Row]) -> dict[str, dict[str, str]]:
    """Return the cells of each recording."""
    found: dict[str, Row] = {}
    for row in rows:
        name = row.cells["file_name"]
        if not name:
            raise MetricError(f"{path} has no file_name in line {row.line}; write it or remove the row.")
        if name in found:
            raise _twice(path, name, found[name].line, row.line)
        found[name] = row
    return {name: row.cells for name, row in found.items()}


def _numbered(cells: dict[str, str]) -> list[str]:
    columns = filter(NUMBERED.fullmatch, cells)
    ordered = sorted(columns, key=lambda name: int(name.removeprefix("caption_")))
    return [cells[name].strip() for name in ordered]


def _unfilled(captions: list[str]) -> tuple[str, ...]:
    """Remove empty captions from the end; one stays in any case."""
    while len(captions) > 1 and not captions[-1]:
        captions.pop()
    return tuple(captions)


def _ranked(path: Path, rows: Iterable[Row]) -> Captions:
    """Gather the rows that `otoscribe caption --csv` writes, one for each candidate."""
    found: dict[str, dict[int, Row]] = {}
    for row in rows:
        name = row.cells["file"]
        if not name:
            raise MetricError(f"{path} names no file in line {row.line}; write it or remove the row.")
        if row.cells.get("error"):
            raise MetricError(
                f"{path} has an error instead of a caption for {name}, in line {row.line}: "
                f"{row.cells['error']} Caption it again, or remove the row."
            )
        rank = row.cells.get("rank", "1")
        if not re.fullmatch("[0-9]{1,9}", rank):
            raise MetricError(f"{path} has the rank {rank!r} in line {row.line}; ranks count from 1.")
        others = found.setdefault(name, {})
        if int(rank) in others:
            raise _twice(path, name, others[int(rank)].line, row.line)
        others[int(rank)] = row
    return {
        name: _unfilled([others[rank].cells["caption"].strip() for rank in sorted(others)])
        for name, others in found.items()
    }


def _twice(path: Path, name: str, first: int, second: int) -> MetricError:
    return MetricError(f"{path} lists {name} twice, in lines {first} and {second}; list each recording once.")
