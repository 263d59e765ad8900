"""Tables of captions, as data sets and captioners write them → captions by recording.

| file | what it is |
|---|---|
| CSV with `file_name,caption_1,caption_2,...` | the layout of Clotho: references, or several candidates |
| CSV with `file_name,caption` | candidates |
| CSV with `file,caption,...,rank,error` | what `otoscribe caption --csv` writes: candidates |
| JSONL `{"file_name": "...", "caption": "..."}` | an object a line, with keys like a CSV's columns |
| JSONL `{"file_name": "...", "captions": ["...", "..."]}` | the same with a list of captions |
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otoscribe.errors import MetricError

Captions = dict[str, tuple[str, ...]]
"""Each recording's captions by its name, in the order of the file."""

_NUMBERED = re.compile(r"caption_[0-9]{1,4}")


@dataclass(frozen=True)
class _Layout:
    """Which columns a table must have."""

    needed: str
    """In words, for errors."""
    fits: Callable[[Collection[str]], bool]


@dataclass(frozen=True)
class _Row:
    """What a table says of one recording."""

    line: int
    """Where in the file, from 1."""
    cells: dict[str, str]
    """Text by column."""


_REFERENCES = _Layout(
    "file_name and caption_1, caption_2 and so on",
    lambda columns: "file_name" in columns and any(map(_NUMBERED.fullmatch, columns)),
)
_CANDIDATES = _Layout(
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
    for name, cells in _by_name(path, _rows(path, _REFERENCES)).items():
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
    rows = _rows(path, _CANDIDATES)
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


def _by_name(path: Path, rows: Iterable[_Row]) -> dict[str, dict[str, str]]:
    """Return the cells of each recording."""
    found: dict[str, _Row] = {}
    for row in rows:
        name = row.cells["file_name"]
        if not name:
            raise MetricError(f"{path} has no file_name in line {row.line}; write it or remove the row.")
        if name in found:
            raise _twice(path, name, found[name].line, row.line)
        found[name] = row
    return {name: row.cells for name, row in found.items()}


def _numbered(cells: dict[str, str]) -> list[str]:
    columns = filter(_NUMBERED.fullmatch, cells)
    ordered = sorted(columns, key=lambda name: int(name.removeprefix("caption_")))
    return [cells[name].strip() for name in ordered]


def _unfilled(captions: list[str]) -> tuple[str, ...]:
    """Remove empty captions from the end; one stays in any case."""
    while len(captions) > 1 and not captions[-1]:
        captions.pop()
    return tuple(captions)


def _ranked(path: Path, rows: Iterable[_Row]) -> Captions:
    """Gather the rows that `otoscribe caption --csv` writes, one for each candidate."""
    found: dict[str, dict[int, _Row]] = {}
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


def _rows(path: Path, layout: _Layout) -> list[_Row]:
    """Read a table whose columns fit the layout, and which has at least one row."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise MetricError(f"There is no {path}; name a CSV or JSONL file of captions.") from error
    except OSError as error:
        raise MetricError(f"{path} cannot be read: {error.strerror or error}.") from error
    is_json = {".csv": False, ".jsonl": True, ".ndjson": True}.get(path.suffix.lower())
    if is_json is None:
        is_json = data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"["))
    kind, read = ("JSONL", _json_rows) if is_json else ("a CSV", _csv_rows)
    try:
        rows = list(read(path, _text(data), layout))
    except _FormatError as error:
        raise MetricError(f"{path} is not {kind} in UTF-8: {error}. Save it as one.") from error
    if not rows:
        raise MetricError(f"{path} lists no recordings.")
    return rows


class _FormatError(ValueError):
    """Says what breaks the format, and in which line."""

    def __init__(self, what: object, line: int) -> None:
        super().__init__(f"{what}, in line {line}")


def _text(data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _FormatError(
            f"byte 0x{data[error.start]:02x}", data.count(b"\n", 0, error.start) + 1
        ) from error
    if "\0" in text:
        raise _FormatError("a NUL character", text.count("\n", 0, text.index("\0")) + 1)
    return text


def _csv_rows(path: Path, text: str, layout: _Layout) -> Iterator[_Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] | None = None
    line = 1
    try:
        for values in reader:
            if columns is None:
                columns = values
                _check_columns(path, columns, layout)
            elif len(values) > len(columns):
                raise MetricError(
                    f"{path} has {len(values)} fields for {len(columns)} columns in line {line}; "
                    f"a caption that holds a comma stands in quotes."
                )
            elif values:
                # A row that ends early has nothing in its last columns.
                values += [""] * (len(columns) - len(values))
                yield _Row(line, dict(zip(columns, values, strict=True)))
            line = reader.line_num + 1
    except csv.Error as error:
        raise _FormatError(error, line) from error
    if columns is None:
        _check_columns(path, [], layout)


def _check_columns(path: Path, columns: list[str], layout: _Layout) -> None:
    if not layout.fits(columns):
        cause = ", separated by commas" if len(columns) == 1 and re.search("[;\t]", columns[0]) else ""
        raise MetricError(f"{path} has the columns {_shown(columns)}; it needs {layout.needed}{cause}.")
    for name, times in Counter(columns).items():
        if name and times > 1:
            raise MetricError(f"{path} has the column {name} {times} times; rename or remove the others.")


def _shown(names: Iterable[str]) -> str:
    """List names, but no end of them: the first line of any other file may come here."""
    text = ", ".join(names) or "(none)"
    return text if len(text) <= 200 else f"{text[:200]} ..."


def _json_rows(path: Path, text: str, layout: _Layout) -> Iterator[_Row]:
    # Not by `splitlines`: a text in JSON may hold other line separators.
    for line, written in enumerate(text.split("\n"), start=1):
        if not written.strip():
            continue
        try:
            entry = json.loads(written, object_pairs_hook=_distinct)
        except (ValueError, RecursionError) as error:
            raise _FormatError(getattr(error, "msg", error), line) from error
        if not isinstance(entry, dict):
            raise MetricError(
                f"{path} has no JSON object in line {line}; write one object a line, without brackets around."
            )
        cells = {
            name: _string(path, line, name, value)
            for name, value in entry.items()
            if name in ("file_name", "caption") or _NUMBERED.fullmatch(name)
        }
        if "captions" in entry:
            cells |= _listed(path, line, entry["captions"])
        if not layout.fits(cells):
            raise MetricError(
                f"{path} has the keys {_shown(entry)} in line {line}; it needs {layout.needed}."
            )
        yield _Row(line, cells)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(pairs)
    if len(entry) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return entry


def _listed(path: Path, line: int, captions: Any) -> dict[str, str]:
    """Name the captions of a list as columns of a CSV would be."""
    if not isinstance(captions, list):
        raise MetricError(f"{path} has captions that are no list, in line {line}; put them in brackets.")
    return {
        f"caption_{number}": _string(path, line, "captions", text)
        for number, text in enumerate(captions or [""], start=1)
    }


def _string(path: Path, line: int, name: str, value: Any) -> str:
    """Return a text; null is an empty one, as tools write it where a table has an empty cell."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MetricError(f"{path} has a {name} that is no text, in line {line}; put it in quotes.")
    # JSON can spell halves of characters, and NUL, which no other part of a table may hold.
    if re.search("[\0\ud800-\udfff]", value):
        raise MetricError(f"{path} has a {name} with a character that is none, in line {line}; remove it.")
    return value
