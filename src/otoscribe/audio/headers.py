"""What the headers of a recording state: where it begins, how many bytes or seconds it should have.

FFmpeg believes a header or corrects it, and does not say which. Whoever keeps recordings wants to know, so
the few fields that state a length are read here as well: RIFF, RF64 and BW64 (EBU Tech 3306, ITU-R BS.2088),
Sony's Wave64, Apple's CAF, the Xing tag of MP3, Microsoft's ASF.
"""

import re
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from otoscribe.audio.sources import Part, Source

_UNKNOWN = 0x7FFF0000
"""Bytes. Recorders that write into a pipe cannot know the length and state this or more, or 0."""

_COUNTING = 64
"""Bytes. Some writers count the header as audio, or leave it out; nothing is missing then."""

_CHUNKS = 10_000
"""No header has more, whatever it says."""

_W64_ID = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


class Stated(NamedTuple):
    """What a header says about the bytes of audio, and what is there."""

    bytes: int | None
    """Stated; None where the header was never finished."""
    found: int
    """From the beginning of the audio to the end of the file, or of what is stated."""
    beyond: int = 0
    """Bytes after the stated end that are nothing else either: audio that the header does not know of."""
    begin: int = 0
    """Of the audio of a WAV."""


def beginning(source: Source) -> int:
    """Return where a recording begins: after the ID3v2 tags that stand before it."""
    start = 0
    # An ID3v2 header is ten bytes, the last four of them the size, seven bits each (ID3v2.4, section 3.1).
    while (head := source.read(start, 10))[:3] == b"ID3" and len(head) == 10 and max(head[6:]) < 128:
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        after = start + 10 + size + (10 if head[5] & 16 else 0)
        if after >= source.size:
            break
        start = after
    return start


def stated_bytes(part: Part) -> Stated | None:
    """Return what the header of a WAV, Wave64 or CAF file states; None for others, or if it says nothing."""
    head = part.at(0, 16)
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return _wav(part, head)
    if head[:4] == b"riff" and len(head) == 16:
        return _first(_chunks(part, 40, _w64_chunk), b"data", part)
    if head[:4] == b"caff":
        return _first(_chunks(part, 8, _caf_chunk), b"data", part)
    return None


def repaired(part: Part, stated: Stated | None) -> Part:
    """Return a WAV for FFmpeg: without what follows its audio, or to the end if that is audio, too.

    FFmpeg reads on to the end of the file if the size is 0, and not at all if RF64 states 0 in its place.
    """
    if stated is None or not stated.begin:
        return part
    if stated.bytes is None or stated.beyond:
        return part.patched({0: b"RIFF", stated.begin - 4: bytes(4)})
    return part.within(0, stated.begin + stated.found)


def xing_frames(before_audio: bytes) -> int | None:
    """Return how many frames the tag of an MP3 states that lies before its audio, in a frame of its own."""
    tag = max(before_audio.rfind(b"Xing"), before_audio.rfind(b"Info"))
    if tag >= 0 and len(before_audio) >= tag + 12:
        flags, frames = struct.unpack_from(">II", before_audio, tag + 4)
        return frames if flags & 1 else None
    tag = before_audio.rfind(b"VBRI")
    if tag >= 0 and len(before_audio) >= tag + 18:
        return int(struct.unpack_from(">I", before_audio, tag + 14)[0])
    return None


def asf_seconds(part: Part) -> float | None:
    """Return the duration that an ASF file (WMA, WMV) states, if it was finished."""
    head = part.at(0, 1 << 16)
    place = head.find(_ASF_PROPERTIES)
    if place < 0 or len(head) < place + 92:
        return None
    # Play duration in units of 100 ns, preroll in ms; the lowest flag says that neither was filled in.
    duration, _, preroll, flags = struct.unpack_from("<QQQI", head, place + 64)
    return None if flags & 1 or not duration else duration / 1e7 - preroll / 1e3


_Chunk = tuple[bytes, int, int, int]
"""Name, stated size, where the content begins, where the next chunk begins."""


def _riff_chunk(part: Part, place: int) -> _Chunk | None:
    head = part.at(place, 8)
    if len(head) < 8:
        return None
    size = int.from_bytes(head[4:], "little")
    return head[:4], size, place + 8, place + 8 + size + size % 2


def _w64_chunk(part: Part, place: int) -> _Chunk | None:
    head = part.at(place, 24)
    if len(head) < 24 or head[4:16] != _W64_ID:
        return None
    size = int.from_bytes(head[16:], "little")
    return head[:4], size - 24, place + 24, place + max(24, size + -size % 8)


def _caf_chunk(part: Part, place: int) -> _Chunk | None:
    head = part.at(place, 12)
    if len(head) < 12:
        return None
    size = int.from_bytes(head[4:], "big", signed=True)
    return head[:4], size, place + 12, place + 12 + size


def _chunks(part: Part, place: int, read: Callable[[Part, int], _Chunk | None]) -> Iterator[_Chunk]:
    for _ in range(_CHUNKS):
        chunk = read(part, place)
        if chunk is None:
            return
        yield chunk
        if chunk[1] < 0:  # until the end of the file
            return
        place = chunk[3]


def _first(chunks: Iterator[_Chunk], wanted: bytes, part: Part) -> Stated | None:
    for name, size, begins, _ in chunks:
        if name == wanted:
            left = max(0, part.size - begins)
            return None if size < 0 else Stated(size, min(size, left))
    return None


def _wav(part: Part, head: bytes) -> Stated | None:
    whole = int.from_bytes(head[4:8], "little")
    long = 0
    for name, size, begins, after in _chunks(part, 12, _riff_chunk):
        if name == b"ds64":
            long = int.from_bytes(part.at(begins + 8, 8), "little")
        if name != b"data":
            continue
        left = max(0, part.size - begins)
        if head[:4] != b"RIFF":
            size, after = long, begins + long + long % 2
        unfinished = size == 0 and not (head[:4] == b"RIFF" and whole + 8 == part.size)
        if left and (unfinished or (head[:4] == b"RIFF" and size >= _UNKNOWN > left)):
            return Stated(None, left, 0, begins)
        # In four bytes no more than 4 GiB can be counted, and some recorders count on from 0.
        beyond = part.size - after
        if beyond <= _COUNTING or _is_chunk(part, after) or not any(part.at(after, 1 << 16)):
            beyond = 0
        return Stated(size, min(size, left), beyond, begins)
    return None


def _is_chunk(part: Part, place: int) -> bool:
    chunk = _riff_chunk(part, place)
    if chunk is None or not re.fullmatch(rb"[ -~]{4}", chunk[0]):
        return False
    return chunk[3] <= part.size + 1 or chunk[0] in (b"RIFF", b"RF64", b"BW64")


def differs(stated: Stated) -> bool:
    """Tell whether bytes of audio are missing or too many, beyond what writers miscount."""
    return stated.bytes is not None and abs(stated.bytes - stated.found - stated.beyond) > _COUNTING
