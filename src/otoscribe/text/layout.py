"""Which columns a table of captions must have, and what one row of it says."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

NUMBERED = re.compile(r"caption_[0-9]{1,4}")
"""Names of columns for several captions."""
BESIDE = ("rank", "error", "start_time")
"""Columns that are read if they are there."""


@dataclass(frozen=True)
class Layout:
    """Which columns a table must have."""

    names: tuple[str, ...]
    """One of them names the recording: the first of these that is there."""
    captions: tuple[str, ...]
    """One of them is needed, or a numbered one."""
    needed: str
    """Both in words, for errors."""

    def fits(self, columns: Collection[str]) -> bool:
        """Tell whether a table with such columns can be read."""
        named = any(name in columns for name in self.names)
        return named and any(name in self.captions or NUMBERED.fullmatch(name) for name in columns)

    def name_in(self, columns: Collection[str]) -> str:
        """Return which of the columns names the recording; one must."""
        return next(name for name in self.names if name in columns)

    def reads(self, column: str) -> bool:
        """Tell whether a column matters."""
        return column in (*self.names, *self.captions, *BESIDE) or bool(NUMBERED.fullmatch(column))


@dataclass(frozen=True)
class Row:
    """What a table says of one recording, or one of its captions."""

    place: str
    """Where in the file, as "line 3"."""
    name: str
    """The recording's. Bytes that are no UTF-8 are halves of characters in it, as in any path in Python."""
    cells: dict[str, str]
    """Text by column."""


class FormatError(ValueError):
    """Says what breaks the format of a file, and where."""

    def __init__(self, what: object, place: str) -> None:
        super().__init__(f"{what}, in {place}")


def line_of(text: str, at: int) -> str:
    """Return the place of a character, as "line 3"."""
    return f"line {text.count(chr(10), 0, at) + 1}"


def shown(names: Iterable[str]) -> str:
    """List names, but no end of them: the first line of any other file may come here."""
    text = ", ".join(names) or "(none)"
    return text if len(text) <= 200 else f"{text[:200]} ..."
