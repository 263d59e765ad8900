"""What stands before the audio of a recording: tags, and statements of its length.

Here are those that are not chunks (`chunks`): ID3v2, the Xing and VBRI tags of MP3, Microsoft's ASF.
"""

import struct

from otoscribe.audio.sources import Part, Source

TAGS = (b"TAG", b"ID3", b"3DI", b"APE", b"LYR")
"""Beginnings of what stands before or after an MP3: ID3v1, ID3v2 and its footer, APEv2, Lyrics3."""

_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


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
