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


class Stream(NamedTuple):
    """What the pages of a stream say."""

    missing: int
    """Pages that the numbers of the others leave out."""
    is_finished: bool
    """The last page is whole and marked as the last."""
    end: int
    """Where the last page ends."""


def stream(part: Part) -> Stream:
    """Walk through all pages of a stream."""
    numbers: dict[bytes, int] = {}
    missing = 0
    last: _Page | None = None
    for last in _pages(part):
        if last.serial in numbers:
            missing += max(0, last.number - numbers[last.serial] - 1)
        numbers[last.serial] = last.number
    if last is None:
        return Stream(0, False, part.size)
    is_finished = bool(last.flags & _LAST) and last.end <= part.size
    return Stream(missing, is_finished, min(last.end, part.size))


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
