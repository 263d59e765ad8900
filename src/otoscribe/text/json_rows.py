"""JSON → rows of captions: one array, an object a line, or several of these joined."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from otoscribe.errors import TableError
from otoscribe.text.layout import FormatError, Layout, Row, line_of, shown


def json_rows(path: Path, text: str, layout: Layout) -> Iterator[Row]:
    """Yield a row for each object.

    Raises:
        TableError: an object has not the keys of `layout`, or something else in them than text.
        FormatError: the text is no JSON.
    """
    for place, entry in _json_values(text):
        if not isinstance(entry, dict):
            raise TableError(f"{path} has no JSON object in {place}; write one for each recording.")
        cells = {name: _string(path, place, name, entry[name]) for name in entry if layout.reads(name)}
        if (
            "file" in cells and "candidates" in entry
        ):  # what `otoscribe caption` writes; `caption` is the first
            cells.pop("caption", None)
            cells |= _listed(path, place, "candidates", entry["candidates"])
        elif "captions" in entry:
            cells |= _listed(path, place, "captions", entry["captions"])
        if not layout.fits(cells):
            raise TableError(f"{path} has the keys {shown(entry)} in {place}; it needs {layout.needed}.")
        yield Row(place, cells[layout.name_in(cells)], cells)


def _json_values(text: str) -> Iterator[tuple[str, Any]]:
    """Yield every value with its place, those of arrays one by one; JSON Lines are values in a row, too."""
    decoder = json.JSONDecoder(object_pairs_hook=_distinct)
    space = re.compile(r"[ \t\r\n]*")
    at, line, entries = 0, 1, 0
    while (start := space.match(text, at).end()) < len(text):  # type: ignore[union-attr]
        line += text.count("\n", at, start)
        try:
            value, at = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            what = getattr(error, "msg", error)
            raise FormatError(what, line_of(text, getattr(error, "pos", start))) from error
        if isinstance(value, list):
            for entry in value:
                entries += 1
                yield f"entry {entries}", entry
        else:
            yield f"line {line}", value
        line += text.count("\n", start, at)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(pairs)
    if len(entry) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return entry


def _listed(path: Path, place: str, name: str, captions: Any) -> dict[str, str]:
    """Name the captions of a list as columns of a CSV would be; each may have scores beside it."""
    if not isinstance(captions, list):
        raise TableError(f"{path} has {name} that are no list, in {place}; put them in brackets.")
    texts = [one.get("caption") if isinstance(one, dict) else one for one in captions]
    return {
        f"caption_{number}": _string(path, place, name, text)
        for number, text in enumerate(texts or [""], start=1)
    }


def _string(path: Path, place: str, name: str, value: Any) -> str:
    """Return a text; null is an empty one, as tools write it where a table has an empty cell."""
    if value is None:
        return ""
    captioned = name in ("captions", "candidates") or name.startswith("caption")
    if (
        not captioned
        and isinstance(value, int | float)
        and not isinstance(value, bool)
        and value == value // 1
    ):
        return str(int(value))  # COCO's image_id
    if not isinstance(value, str):
        raise TableError(f"{path} has a {name} that is no text, in {place}; put it in quotes.")
    # JSON can spell halves of characters; in a name they may be bytes that are no UTF-8.
    if re.search("[\0\ud800-\udfff]" if captioned else "[\0\ud800-\udc7f\udd00-\udfff]", value):
        raise TableError(f"{path} has a {name} with a character that is none, in {place}; remove it.")
    return value
