"""Formats of chunks, whose headers state how many bytes of audio there should be.

FFmpeg believes a header or corrects it, and does not say which; whoever keeps recordings wants to know. Here
are RIFF, RF64 and BW64 (EBU Tech 3306, ITU-R BS.2088), Sony's Wave64, Apple's CAF, AIFF, and AU.
"""

import re
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from otoscribe.audio import joined
from otoscribe.audio.headers import TAGS
from otoscribe.audio.sources import Part

_UNKNOWN = 0x7FFF0000
"""Bytes. Recorders that write into a pipe cannot know the length and state this or more, or 0."""

_COUNTING = 64
"""Bytes. Some writers count the header as audio, or leave it out; nothing is missing then."""

_CHUNKS = 10_000
"""No header has more, whatever it says."""

_W64_ID = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"


class Stated(NamedTuple):
    """What a header says about the bytes of audio, and what is there."""

    bytes: int | None
    """Stated; None where the header was never finished."""
    found: int
    """Those that are there, and those that the header does not know of."""
    heard: Part
    """The file as FFmpeg should see it."""
    end: int
    """Where another recording may begin."""
    more: bool
    """There is a second chunk of audio, which is not heard."""

    def differs(self) -> bool:
        """Tell whether bytes are missing or too many, beyond what writers miscount."""
        return self.bytes is not None and abs(self.bytes - self.found) > _COUNTING


class _Chunk(NamedTuple):
    name: bytes
    size: int
    begin: int
    """Of the content."""
    after: int
    """Where the next chunk begins."""
    field: int
    """Where the size stands."""


class _Layout(NamedTuple):
    first: int
    """Where the first chunk begins."""
    read: Callable[[Part, int], _Chunk | None]
    audio: bytes
    """Name of the chunk with the audio."""
    before: int
    """Bytes of that chunk before the audio."""
    largest: int
    """A size from here on is none, if there is not as much."""
    to_the_end: Callable[[int], bytes]
    """Makes the size with which FFmpeg reads so many bytes, to the end of the file."""
    open: int | None = None
    """The size by which the format itself leaves it open."""


def stated(part: Part) -> Stated | None:
    """Return what the header of a file of chunks states; None for others, and where it says nothing."""
    head = part.at(0, 28)
    layout = _layout(part, head)
    if layout is None:
        return None
    long = 0
    chunks = _chunks(part, layout.first, layout.read)
    for chunk in chunks:
        if chunk.name == b"ds64":
            long = int.from_bytes(part.at(chunk.begin + 8, 8), "little")
        if chunk.name == layout.audio:
            if head[:4] in (b"RF64", b"BW64"):
                chunk = chunk._replace(size=long, after=chunk.begin + long + long % 2)
            return _compared(part, layout, chunk)
    return None


def _compared(part: Part, layout: _Layout, chunk: _Chunk) -> Stated | None:
    left = max(0, part.size - chunk.begin - layout.before)
    size = chunk.size - layout.before
    if chunk.size == layout.open:
        return None
    patches = {chunk.field: layout.to_the_end(part.size - chunk.begin)}
    if part.at(0, 4) in (b"RF64", b"BW64"):  # whose size stands elsewhere, and is believed
        patches[0] = b"RIFF"
    to_the_end = part.patched(patches)
    unfinished = size <= 0 or chunk.size >= layout.largest > part.size
    if unfinished and left and _is_audio(part, chunk.begin + layout.before, layout):
        return Stated(None, left, to_the_end, part.size, False)
    if part.size - chunk.after > _COUNTING and _is_audio(part, chunk.after, layout):
        return Stated(max(0, size), left, to_the_end, part.size, False)
    end, more = chunk.after, False
    for following in _chunks(part, chunk.after, layout.read):
        if not _is_chunk(part, following) or joined.begins_at(part, end):
            break
        end, more = following.after, more or following.name == layout.audio
    ends_with_audio = layout.read in (_riff_chunk, _au_chunk)
    heard = part.within(0, min(part.size, chunk.after)) if ends_with_audio else part
    return Stated(max(0, size), min(max(0, size), left), heard, min(end, part.size), more)


def _layout(part: Part, head: bytes) -> _Layout | None:
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return _Layout(12, _riff_chunk, b"data", 0, _UNKNOWN, lambda _: bytes(4))
    if head[:4] == b"riff" and head[24:28] == b"wave":
        return _Layout(40, _w64_chunk, b"data", 0, 1 << 62, lambda left: (24 + left).to_bytes(8, "little"))
    if head[:4] == b"caff" and part.at(28, 4) == b"lpcm":  # what is coded needs a table after the audio
        return _Layout(8, _caf_chunk, b"data", 4, 1 << 62, lambda _: b"\xff" * 8, 2**64 - 1)
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _Layout(12, _aiff_chunk, b"SSND", 8, _UNKNOWN, _aiff_size)
    if head[:4] == b".snd":
        return _Layout(0, _au_chunk, b".snd", 0, _UNKNOWN, lambda _: b"\xff" * 4, 2**32 - 1)
    return None


def _riff_chunk(part: Part, place: int) -> _Chunk | None:
    return _iff_chunk(part, place, "little")


def _aiff_chunk(part: Part, place: int) -> _Chunk | None:
    return _iff_chunk(part, place, "big")


def _iff_chunk(part: Part, place: int, order: Literal["little", "big"]) -> _Chunk | None:
    head = part.at(place, 8)
    if len(head) < 8:
        return None
    size = int.from_bytes(head[4:], order)
    return _Chunk(head[:4], size, place + 8, place + 8 + size + size % 2, place + 4)


def _w64_chunk(part: Part, place: int) -> _Chunk | None:
    head = part.at(place, 24)
    if len(head) < 24 or head[4:16] != _W64_ID:
        return None
    size = int.from_bytes(head[16:], "little")
    return _Chunk(head[:4], max(0, size - 24), place + 24, place + max(24, size + -size % 8), place + 16)


def _caf_chunk(part: Part, place: int) -> _Chunk | None:
    head = part.at(place, 12)
    if len(head) < 12:
        return None
    size = int.from_bytes(head[4:], "big")
    return _Chunk(head[:4], size, place + 12, place + 12 + size, place + 4)


def _aiff_size(left: int) -> bytes:
    return min(left, _UNKNOWN).to_bytes(4, "big")


def _au_chunk(part: Part, place: int) -> _Chunk | None:
    head = part.at(place, 12)
    if len(head) < 12 or place:
        return None
    begin, size = int.from_bytes(head[4:8], "big"), int.from_bytes(head[8:], "big")
    return _Chunk(head[:4], size, begin, begin + size, 8)


def _chunks(part: Part, place: int, read: Callable[[Part, int], _Chunk | None]) -> Iterator[_Chunk]:
    for _ in range(_CHUNKS):
        chunk = read(part, place)
        if chunk is None:
            return
        yield chunk
        place = chunk.after


def _is_chunk(part: Part, chunk: _Chunk) -> bool:
    # The last may be cut, or lack the byte that makes its length even.
    return bool(re.fullmatch(rb"[ -~]{4}", chunk.name)) and chunk.after <= part.size + 1


def _is_audio(part: Part, place: int, layout: _Layout) -> bool:
    """Tell whether bytes that no header knows of are audio: no chunk, tag, recording, text, and not empty."""
    chunk = layout.read(part, place)
    if chunk is not None and (_is_chunk(part, chunk) or joined.begins_at(part, place)):
        return False
    head = part.at(place, 1 << 16)
    is_text = all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head[:200])
    return any(head) and not is_text and head[:3] not in TAGS and not joined.begins_at(part, place)
