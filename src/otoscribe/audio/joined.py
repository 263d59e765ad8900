"""Where further recordings begin in a file, as after `cat` or in a recorder that goes on."""

import re
from collections.abc import Iterator
from itertools import pairwise

from otoscribe.audio import ogg
from otoscribe.audio.sources import Part

_FLAC = re.compile(rb"fLaC[\0\x80]\0\0\x22")
"""With the beginning of its first block, whose kind and length are given (RFC 9639, section 8.2)."""

_OTHERS = re.compile(
    rb"(?:RIFF|RF64|BW64)....WAVE|FORM....AIF[FC]|OggS\0\x02|caff\0\x01|riff\x2e\x91\xcf\x11"
    rb"|\0\0\0[\x08-\x80]ftyp[0-9A-Za-z ]{4}|\x1aE\xdf\xa3|\x30\x26\xb2\x75\x8e\x66\xcf\x11|#!AMR"
    rb"|wvpk....[\x02-\x10]\x04|TTA1|" + _FLAC.pattern,
    re.DOTALL,
)
"""Of formats whose header says where they end, so that what was joined after it would not be heard."""

_SCAN = 1 << 20
_LONGEST = 16
"""Bytes of a beginning."""


def parts(part: Part) -> list[Part]:
    """Cut a file where every stream begins whose rate or channels may be others than before.

    FFmpeg goes on from one stream of a FLAC or Ogg file to the next only if these stay the same.
    """
    head = part.at(0, 4)
    beginnings = {b"fLaC": _flacs, b"OggS": ogg.links}.get(head)
    cuts = [0, *(start for start in beginnings(part) if start)] if beginnings else [0]
    return [part.within(start, end) for start, end in pairwise([*cuts, part.size])]


def following(part: Part, end: int) -> Part | None:
    """Return what begins after the end of a recording, if anything does."""
    for found in _found(part, _OTHERS, end):
        return part.within(found, part.size)
    return None


def _flacs(part: Part) -> Iterator[int]:
    return _found(part, _FLAC, 0)


def _found(part: Part, pattern: re.Pattern[bytes], place: int) -> Iterator[int]:
    while place < part.size:
        data = part.at(place, _SCAN)
        last = len(data) < _SCAN
        for match in pattern.finditer(data):
            if last or match.start() < len(data) - _LONGEST:
                yield place + match.start()
        if last:
            return
        place += len(data) - _LONGEST
