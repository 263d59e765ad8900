"""CSV and JSONL files → rows of text, with a sentence for whatever is not one."""

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

NUMBERED = re.compile(r"caption_[0-9]{1,4}")
"""Names of columns for several captions."""


@dataclass(frozen=True)
class Layout:
    """Which columns a table must have."""

    needed: str
    """In words, for errors."""
    fits: Callable[[Collection[str]], bool]


@dataclass(frozen=True)
class Row:
    """What a table says of one recording."""

    line: int
    """Where in the file, from 1."""
    cells: dict[str, str]
    """Text by column."""


def read_rows(path: Path, layout: Layout) -> list[Row]:
    """Read a table.

    Args:
        path: told to be CSV or JSONL by its suffix, else by its first character.
        layout: which columns it must have; others are read too.

    Returns:
        One row or more, in the order of the file.

    Raises:
        MetricError: the file cannot be read, is neither CSV nor JSONL in UTF-8, has other columns, or no row.
    """
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


def _csv_rows(path: Path, text: str, layout: Layout) -> Iterator[Row]:
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
                yield Row(line, dict(zip(columns, values, strict=True)))
            line = reader.line_num + 1
    except csv.Error as error:
        raise _FormatError(error, line) from error
    if columns is None:
        _check_columns(path, [], layout)


def _check_columns(path: Path, columns: list[str], layout: Layout) -> None:
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


def _json_rows(path: Path, text: str, layout: Layout) -> Iterator[Row]:
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
            if name in ("file_name", "caption") or NUMBERED.fullmatch(name)
        }
        if "captions" in entry:
            cells |= _listed(path, line, entry["captions"])
        if not layout.fits(cells):
            raise MetricError(
                f"{path} has the keys {_shown(entry)} in line {line}; it needs {layout.needed}."
            )
        yield Row(line, cells)


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
