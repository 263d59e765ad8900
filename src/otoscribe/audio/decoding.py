"""Recordings → blocks, by whichever decoder knows the format, to the last recording that a file holds."""

from collections.abc import Iterator

from otoscribe.audio import ffmpeg, headers, joined, sndfile
from otoscribe.audio.notes import Notes
from otoscribe.audio.sources import Part, Source
from otoscribe.audio.tally import Tally
from otoscribe.audio.waveform import Block
from otoscribe.errors import AudioError

_NOTHING = 100
"""Beginnings of recordings without a recording after which a file is not searched any further."""


def blocks(source: Source, notes: Notes) -> Iterator[Block]:
    """Decode a recording, and those that were joined to it.

    Raises:
        AudioError: nothing in it can be decoded.
    """
    whole = Part(source, headers.beginning(source), source.size)
    waiting = joined.parts(whole)
    known, heard, nothing = False, 0, 0
    while waiting and nothing < _NOTHING:
        part = waiting.pop(0)
        stated = headers.stated_bytes(part)
        tally = Tally(notes, stated)
        try:
            yield from ffmpeg.decoded(headers.repaired(part, stated), tally)
        except ffmpeg.NotFFmpegs:
            nothing += 1
            continue
        except AudioError:
            if not heard:
                raise
            notes.add("what is joined to it cannot be heard")
        known = True
        heard += tally.heard > 0
        if heard == 2:
            notes.add("several recordings are joined in it, and all are heard")
        if not waiting and tally.end and (rest := joined.following(part, tally.end)):
            waiting.append(rest)
    if not known:
        yield from sndfile.decoded(whole, notes)
