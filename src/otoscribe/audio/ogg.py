"""The pages of an Ogg file (RFC 3533): where its streams begin, and whether all pages are there."""

from collections.abc import Iterator
from typing import NamedTuple

from otoscribe.audio.sources import Part

_SCAN = 1 << 20
"""Bytes that are searched at a time."""

_FIRST, _LAST = 2, 4
"""Flags of a page."""


class _Page(NamedTuple):
    begin: int
    end: int
    flags: int
    serial: bytes
    number: int


def links(part: Part) -> Iterator[int]:
    """Yield where each of the streams begins that follow each other in a file (a chain)."""
    beginning = False
    for page in _pages(part):
        # Streams beside each other all begin before any goes on.
        if page.flags & _FIRST and not beginning:
            yield page.begin
        beginning = bool(page.flags & _FIRST)


def missing(part: Part) -> int:
    """Return how many pages the numbers of the others leave out."""
    numbers: dict[bytes, int] = {}
    left_out = 0
    for page in _pages(part):
        if page.serial in numbers:
            left_out += max(0, page.number - numbers[page.serial] - 1)
        numbers[page.serial] = page.number
    return left_out


def is_finished(part: Part) -> bool:
    """Tell whether the last page is whole and marked as the last."""
    last = _last(part)
    return last is not None and bool(last.flags & _LAST) and last.end <= part.size


def end(part: Part) -> int:
    """Return where the last page ends."""
    last = _last(part)
    return part.size if last is None else min(last.end, part.size)


def _last(part: Part) -> _Page | None:
    last = None
    for last in _pages(part):  # noqa: B007
        pass
    return last


def _pages(part: Part) -> Iterator[_Page]:
    place = 0
    while place < part.size:
        head = part.at(place, 27 + 255)
        if head[:4] != b"OggS" or len(head) < 27:
            place = _next(part, place + 1)
            continue
        end = place + 27 + head[26] + sum(head[27 : 27 + head[26]])
        yield _Page(place, end, head[5], head[14:18], int.from_bytes(head[18:22], "little"))
        place = end


def _next(part: Part, place: int) -> int:
    while place < part.size:
        data = part.at(place, _SCAN)
        found = data.find(b"OggS")
        if found >= 0:
            return place + found
        place += max(1, len(data) - 3)
    return part.size
