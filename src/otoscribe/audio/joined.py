"""Where further recordings begin in a file, as after `cat` or in a recorder that goes on."""

import re
from collections.abc import Iterator
from itertools import pairwise

from otoscribe.audio import ogg
from otoscribe.audio.sources import Part

# Each pattern begins with letters, which are found fast, and not with the zeros or sizes before them.
_FLAC = rb"fLaC[\0\x80]\0\0\x22"  # its first block, of known kind and length (RFC 9639, section 8.2)
_EBML = rb"\x1aE\xdf\xa3(?=.{1,60}(?:webm|matroska))"
_MOV = rb"(?<=\0\0\0[\x08-\x80])ftyp[0-9A-Za-z ]{4}"
_OTHERS = (
    rb"(?:RIFF|RF64|BW64)....WAVE|FORM....(?:AIF[FC]|8SVX)|OggS\0\x02|caff\0\x01|riff\x2e\x91\xcf\x11"
    rb"|\x30\x26\xb2\x75\x8e\x66\xcf\x11|#!AMR|wvpk....[\x02-\x10]\x04|TTA1|FLV\x01[\x04\x05]"
    rb"|Creative Voice File\x1a|\.snd\0\0\0[\x18-\xff]|ID3[\x02-\x04]\0"
)

_SIGNS = (
    *(b"fLaC", b"\x1aE\xdf\xa3", b"ftyp", b"RIFF", b"RF64", b"BW64", b"FORM", b"OggS", b"caff", b"riff"),
    *(b"\x30\x26\xb2\x75", b"#!AMR", b"wvpk", b"TTA1", b"FLV", b"Creative Voice", b".snd", b"ID3"),
)

_ALL = re.compile(b"|".join([_FLAC, _EBML, _MOV, _OTHERS]), re.DOTALL)
"""Of formats that are known by their first bytes."""

_FRAMES = re.compile(rb"\xff(?:[\xf1\xf9][\x4c-\x9f]|[\xf2\xf3\xfa\xfb][\x10-\xe7])", re.DOTALL)
"""The first bytes of an ADTS or MPEG frame: two in ten thousand of any bytes."""

_AGAIN = {
    b"fLaC": re.compile(_FLAC, re.DOTALL),
    b"\x1aE\xdf\xa3": re.compile(_EBML, re.DOTALL),
    b"ftyp": re.compile(_MOV, re.DOTALL),
}
"""Formats of which FFmpeg hears the first recording only, or all of them as if they were like the first."""

_SCAN = 1 << 20
_LONGEST = 96
"""Bytes of a beginning."""


def parts(part: Part) -> list[Part]:
    """Cut a file where every stream begins whose rate or channels may be others than before."""
    head = part.at(0, 8)
    if head[:4] == b"OggS":
        starts = list(ogg.links(part))
    else:
        pattern = _AGAIN.get(head[:4]) or _AGAIN.get(head[4:])
        starts = list(_found(part, pattern, 0)) if pattern else []
    cuts = [0, *(start for start in starts if start)]
    return [part.within(start, end) for start, end in pairwise([*cuts, part.size])]


def end(part: Part) -> int | None:
    """Return where an Ogg file or a film of QuickTime's kind ends, if it is one."""
    head = part.at(0, 8)
    if head[:4] == b"OggS":
        return ogg.stream(part).end
    if head[4:] != b"ftyp":
        return None
    place = 0
    while re.fullmatch(rb"....[0-9A-Za-z ]{4}", head, re.DOTALL):
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(part.at(place + 8, 8), "big")
        if size < 8:  # until the end of the file, or no atom
            return part.size
        place += size
        head = part.at(place, 8)
    return min(place, part.size)


def following(part: Part, end: int | None, last: int) -> Part | None:
    """Return what begins after the end of a recording, if anything does.

    Args:
        part: the recording and what follows it.
        end: where it ends, if that is known.
        last: else a place after which it ends, 0 if nothing was decoded.
    """
    if end is not None and _FRAMES.match(part.at(end, 4)):
        return part.within(end, part.size)
    if end or last:
        for found in _found(part, _ALL, end or last):
            return part.within(found, part.size)
    return None


def begins_at(part: Part, place: int) -> bool:
    """Tell whether a recording or a tag begins at a place."""
    head = part.at(place, _LONGEST)
    return bool(_FRAMES.match(head) or _ALL.match(head) or head[4:8] == b"ftyp")


def _found(part: Part, pattern: re.Pattern[bytes], start: int) -> Iterator[int]:
    place = max(0, start - 4)  # what a pattern looks back at
    while place < part.size:
        data = part.at(place, _SCAN)
        last = len(data) < _SCAN
        # Looking for letters is many times faster than looking for patterns.
        matches = pattern.finditer(data, 4 if place else 0) if any(map(data.__contains__, _SIGNS)) else ()
        for match in matches:
            begin = place + match.start() - (4 if match.group().startswith(b"ftyp") else 0)
            if begin >= start and (last or match.start() < len(data) - _LONGEST):
                yield begin
        if last:
            return
        place += len(data) - _LONGEST - 4
