"""Files of captions → rows of text, with a sentence for whatever is not one.

A file is what `otoscribe caption` prints if its first line looks like that, JSON if it begins like it, and
CSV otherwise. Files that were joined end to end are read as one.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from otoscribe.errors import TableError
from otoscribe.text.json_rows import json_rows
from otoscribe.text.layout import FormatError, Layout, Row, line_of, shown


def read_rows(path: Path, layout: Layout) -> list[Row]:
    """Read a table.

    Args:
        path: a CSV, JSON, JSON Lines, or what `otoscribe caption` prints, in UTF-8.
        layout: which columns it must have; others are left out.

    Returns:
        One row or more, in the order of the file.

    Raises:
        TableError: the file cannot be read, is none of these, has other columns, or no row.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise TableError(f"There is no {path}; name a CSV or JSON file of captions.") from error
    except OSError as error:
        raise TableError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.") from error
    # Of joined files, each may begin with a byte order mark.
    text = re.sub("^\ufeff", "", data.decode("utf-8", "surrogateescape"), flags=re.MULTILINE)
    kind, read = "a CSV", _csv_rows
    if _PRINTED_START.match(text.lstrip()):  # first, as a file may be called "[1].wav"
        kind, read = "what `otoscribe caption` prints", _printed_rows
    elif text.lstrip().startswith(("{", "[")) or path.suffix.lower() in (".json", ".jsonl", ".ndjson"):
        kind, read = "JSON", json_rows
    try:
        if "\0" in text:
            raise FormatError("a NUL character", line_of(text, text.index("\0")))
        rows = []
        for row in read(path, text, layout):
            _check_row(path, row, layout)
            rows.append(row)
    except FormatError as error:
        raise TableError(f"{path} is not {kind} in UTF-8: {error}. Save it as one.") from error
    if not rows:
        raise TableError(f"{path} lists no recordings.")
    return rows


def _check_row(path: Path, row: Row, layout: Layout) -> None:
    if not row.name:
        raise TableError(
            f"{path} has no {layout.name_in(row.cells)} in {row.place}; write it or remove the row."
        )
    for column, text in row.cells.items():
        # A recording may have any name that a disk can hold; captions are texts.
        if column.startswith("caption"):
            byte = re.search("[\udc80-\udcff]", text)
            if byte:
                raise FormatError(f"byte 0x{ord(byte[0]) - 0xDC00:02x}", row.place)


def _csv_rows(path: Path, text: str, layout: Layout) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] | None = None
    line = 1
    try:
        for values in reader:
            header = [name.strip() for name in values]
            if columns is None:
                columns = header
                _check_columns(path, columns, layout)
                name_at = columns.index(layout.name_in(columns))
                wanted = [(at, name) for at, name in enumerate(columns) if layout.reads(name)]
            elif len(values) > len(columns):
                raise TableError(
                    f"{path} has {len(values)} fields for {len(columns)} columns in line {line}; "
                    f"a caption that holds a comma stands in quotes."
                )
            elif values and header != columns:  # which is there again where files were joined
                if len(values) < len(columns) and {"rank", "error"} <= set(columns):  # we write whole rows
                    raise TableError(f"{path} is cut short in line {line}. Caption the recordings again.")
                # A row that ends early has nothing in its last columns.
                values += [""] * (len(columns) - len(values))
                if values[name_at].strip() == columns[name_at] or _is_header(header, layout):
                    raise TableError(
                        f"{path} has another header in line {line}; join only files with the same columns."
                    )
                yield Row(f"line {line}", values[name_at], {name: values[at] for at, name in wanted})
            line = reader.line_num + 1
    except csv.Error as error:
        raise FormatError(error, f"line {line}") from error


def _is_header(values: list[str], layout: Layout) -> bool:
    """Tell whether a row is the header of another table: it holds names of columns and nothing else."""
    return layout.fits(values) and sum(map(layout.reads, values)) == len([one for one in values if one])


def _check_columns(path: Path, columns: list[str], layout: Layout) -> None:
    if not layout.fits(columns):
        cause = ", separated by commas" if len(columns) == 1 and re.search("[;\t]", columns[0]) else ""
        raise TableError(f"{path} has the columns {shown(columns)}; it needs {layout.needed}{cause}.")
    for name, times in Counter(columns).items():
        if times > 1 and layout.reads(name):
            raise TableError(f"{path} has the column {name} {times} times; rename or remove the others.")


_PRINTED = re.compile(r"(?:(?P<name>.+): )?(?P<caption>.*)  \(confidence [0-9]+ %\)")
_PRINTED_RANK = re.compile(r"  (?P<rank>[0-9]+)\. (?P<caption>.*)  \(confidence [0-9]+ %\)")
_PRINTED_START = re.compile(r"(?:.+:\r?\n)?.*  \(confidence [0-9]+ %\)\r?$", re.MULTILINE)
_ESCAPED = re.compile(r"\\(?:[ntr]|x[0-9a-f]{2}|u[0-9a-f]{4}|U00(?:0[0-9a-f]|10)[0-9a-f]{4})")


def _printed_rows(path: Path, text: str, layout: Layout) -> Iterator[Row]:
    """Read `FILE: CAPTION  (confidence 42 %)`, and several captions of a file below `FILE:`."""
    heading = ""
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        found = _PRINTED.fullmatch(line)
        ranked = _PRINTED_RANK.fullmatch(line) if heading else None
        if ranked:
            name, cells = heading, {"caption": ranked["caption"], "rank": ranked["rank"]}
        elif found:
            heading, name, cells = "", found["name"] or "", {"caption": found["caption"]}
        elif line.endswith(":"):
            heading = line[:-1]
            continue
        elif line.strip():
            raise FormatError(f"{line!r:.60}", f"line {number}")
        else:
            continue
        if not name:
            raise TableError(
                f"{path} names no recording in line {number}: `otoscribe caption` prints none for one file "
                "alone. Caption with --format csv."
            )
        name = _ESCAPED.sub(_unescaped, name)
        cells["file"] = name
        if not layout.fits(cells):
            raise TableError(f"{path} is what `otoscribe caption` prints; it needs {layout.needed}.")
        yield Row(f"line {number}", name, cells)


def _unescaped(escape: re.Match[str]) -> str:
    """Return the character of which only the code was printed, because a terminal could take it for more."""
    named = {"\\n": "\n", "\\t": "\t", "\\r": "\r"}
    character = named.get(escape[0]) or chr(int(escape[0][2:], 16))
    return escape[0] if character.isprintable() else character
