"""Recordings → blocks, by whichever decoder knows the format, to the last recording that a file holds."""

import contextlib
from collections.abc import Iterator
from pathlib import PurePath

from otoscribe.audio import chunks, ffmpeg, headers, joined, sndfile
from otoscribe.audio.notes import Notes
from otoscribe.audio.sources import Part, Source
from otoscribe.audio.tally import Tally
from otoscribe.audio.waveform import Block
from otoscribe.errors import AudioError

_HEADLESS = (".flac", ".dts", ".sbc", ".msbc", ".aptx", ".aptxhd", ".g722", ".dfpwm")
"""Endings of names by which FFmpeg can decode frames that have no header before them."""

_NOTHING = 100
"""Beginnings of recordings without a recording, after which a file is not searched any further."""

_RECORDINGS = 1000
"""Recordings joined in one file, after which it is not searched any further."""

_PADDING = 4096
"""Zeros at the end that are left, so that what is cut off cannot be the end of a frame."""

_ZEROS = 1 << 24
"""Bytes that are compared at a time."""

_REST = 64
"""Bytes that some writers miscount."""


def blocks(source: Source, notes: Notes) -> Iterator[Block]:
    """Decode a recording, and those that were joined to it.

    Raises:
        AudioError: nothing in it can be decoded.
    """
    whole = _without_padding(Part(source, headers.beginning(source), source.size))
    waiting = joined.parts(whole)
    known, heard, nothing = False, 0, 0
    while waiting and nothing < _NOTHING:
        part = waiting.pop(0)
        stated = chunks.stated(part)
        tally = Tally(notes, stated)
        try:
            yield from ffmpeg.decoded(part if stated is None else stated.heard, tally)
        except ffmpeg.NotFFmpegs:
            nothing += 1
            continue
        except AudioError:
            if not heard:
                raise
            notes.add("what is joined to it cannot be heard")
        known = True
        heard += tally.heard > 0
        nothing += tally.heard == 0
        if heard == 2:
            notes.add("several recordings are joined in it")
        if heard == _RECORDINGS:
            notes.add(f"more than {_RECORDINGS} recordings are joined in it, the rest is not heard")
            return
        if not waiting:
            end = joined.end(part) if stated is None else stated.end
            # What follows a FLAC's last frame is decoded along with it.
            last = tally.last and tally.last + 1 if part.at(0, 4) == b"fLaC" else tally.end
            if rest := joined.following(part, end, last):
                waiting.append(rest)
            elif end:
                _check_rest(part, end, notes)
    if not known:
        yield from _by_name(whole, notes)


def _by_name(part: Part, notes: Notes) -> Iterator[Block]:
    """Decode what cannot be told by its content: frames without a header, FLAC without its beginning."""
    ending = PurePath(part.source.name).suffix.lower()
    if ending in _HEADLESS:
        hinted = part.within(0, part.size)
        hinted.name += ending
        tally = Tally(notes, None)
        with contextlib.suppress(ffmpeg.NotFFmpegs):
            yield from ffmpeg.decoded(hinted, tally)
        if tally.heard:
            notes.add(f"its format is taken from its name, {ending}, for its content does not tell")
            return
    yield from sndfile.decoded(part, notes)


def _check_rest(part: Part, end: int, notes: Notes) -> None:
    head = part.at(end, 1 << 16)
    if part.size - end > _REST and any(head) and head[:3] not in headers.TAGS:
        notes.add(f"{part.size - end} bytes after its end are no sound")


def _without_padding(part: Part) -> Part:
    """Cut off the zeros that some systems allocate and never write, where no sound can be zeros."""
    if part.at(0, 4) not in (b"fLaC", b"OggS") and part.at(0, 1) not in (b"\xff", b"\x47"):
        return part
    end = part.size
    while end > _PADDING:
        size = min(end, _ZEROS)
        rest = part.at(end - size, size).rstrip(b"\0")
        if rest:
            end = end - size + len(rest)
            break
        end -= size
    return part.within(0, min(part.size, end + _PADDING))
