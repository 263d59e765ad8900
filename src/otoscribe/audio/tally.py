"""What is announced, heard, broken and left out while a file is decoded: where its notes come from."""

import re
from fractions import Fraction
from typing import TYPE_CHECKING

from otoscribe.audio import headers, ogg
from otoscribe.audio.notes import Notes, spoken
from otoscribe.audio.sources import Part

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container.input import InputContainer
    from av.packet import Packet

_STATES_SAMPLES = ("flac", "aiff", "au", "tta", "wv", "ape", "tak", "shn")
"""Formats whose header states the samples, or the bytes of a fixed size each."""

_STATES_TIME = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
"""Formats whose header states a duration."""

_GAP = Fraction(1, 20)
"""Seconds by which timestamps may be rounded."""

_FRAMES = ("mp3", "aac", "ac3", "eac3", "dts", "loas")
"""Formats that are frames one after another, so that bytes between them are lost, or no sound."""

_TAGS = (b"TAG", b"ID3", b"APE")
"""Beginnings of what stands at the end or the beginning of an MP3."""

_XING = 4096
"""Bytes before the first frame in which the tag of an MP3 is looked for; its frame has 2,881 at most."""

_IMPOSSIBLE = 3.6e6
"""Seconds, 1,000 hours."""

_LOSSY_SECONDS = 0.1
"""By so much codecs differ from their headers that cut or pad a frame or two."""

_SAMPLES = 64
"""By so much headers of sound without loss may be wrong, where writers count themselves."""


class Tally:
    """Counts while a file is decoded, and says at the end what is odd.

    Args:
        notes: where to say it.
        stated: what the file's header states in bytes, if it does.
    """

    def __init__(self, notes: Notes, stated: headers.Stated | None) -> None:
        self.notes = notes
        self.heard = Fraction()
        """Seconds."""
        self.end = 0
        """Of the last packet, in bytes."""
        self._stated = stated
        self._begin: int | None = None
        self._lost_bytes = 0
        self._tags = False
        self._rate = self._frame_samples = 0
        self._broken_packets = 0
        self._broken = Fraction()
        self._gaps = Fraction()
        self._expected: Fraction | None = None
        self._lasts_unknown = False

    def packet(self, packet: "Packet[AudioStream]", part: Part) -> None:
        """Count a packet before it is decoded."""
        if packet.pos is not None and packet.size:
            if self._begin is None:
                self._begin = packet.pos
            elif packet.pos > self.end:
                self._between(part.at(self.end, 3), packet.pos - self.end)
            self.end = max(self.end, packet.pos + packet.size)
        self._lasts_unknown = packet.pts is None or not packet.duration
        if packet.pts is None or packet.time_base is None:
            return
        begins = packet.pts * packet.time_base
        if self._expected is not None and begins > self._expected + _GAP:
            self._gaps += begins - self._expected
        self._expected = begins + (packet.duration or 0) * packet.time_base

    def _between(self, begins: bytes, size: int) -> None:
        if begins in _TAGS:
            self._tags = True
        else:
            self._lost_bytes += size

    def broken(self, packet: "Packet[AudioStream]") -> None:
        """Count a packet that could not be decoded."""
        if bytes(packet)[:3] in _TAGS:
            self._tags = True
            return
        self._broken_packets += 1
        self._broken += (packet.duration or 0) * (packet.time_base or 0)

    def frame(self, frame: "AudioFrame") -> None:
        """Count what was decoded."""
        # The first frames may have been cut, and rates may change later.
        self._rate = self._rate or frame.sample_rate
        if frame.sample_rate == self._rate:
            self._frame_samples = max(self._frame_samples, frame.samples)
        if frame.sample_rate:
            lasts = Fraction(frame.samples, frame.sample_rate)
            self.heard += lasts
            if self._lasts_unknown and self._expected is not None:
                self._expected += lasts

    def stopped(self) -> None:
        """Say that the file cannot be read on."""
        self.notes.add(f"it is damaged after {spoken(float(self.heard))}, and what follows cannot be read")

    def finish(self, container: "InputContainer", stream: "AudioStream", part: Part) -> None:
        """Say what is odd, now that all was decoded."""
        kind = container.format.name
        if self._stated is not None and self._stated.bytes is None:
            self.notes.add("its header was never finished, so its end may be missing")
        if kind == "ogg":
            self._check_pages(part)
        if self._tags:
            self.notes.add("several recordings are joined in it, as tags between its frames show")
        announced, tolerance = self._announced(kind, container, stream, part)
        if announced is not None and abs(announced - float(self.heard)) > tolerance:
            self._compare(announced)
        self._say_what_is_broken(kind)
        if kind in _FRAMES and self._begin and headers.xing_frames(self._before(part)) is None:
            self.notes.add(f"{self._begin} bytes before its first frame are no sound")

    def _before(self, part: Part) -> bytes:
        begin = self._begin or 0
        return part.at(max(0, begin - _XING), min(begin, _XING))

    def _announced(
        self, kind: str, container: "InputContainer", stream: "AudioStream", part: Part
    ) -> tuple[float | None, float]:
        """Return how many seconds the header announces, if it does, and by how many it may be wrong."""
        heard, lossy = float(self.heard), _LOSSY_SECONDS
        if self._stated is not None:
            if self._stated.bytes is None or not headers.differs(self._stated):
                return None, 0.0
            return heard * self._stated.bytes / max(1, self._stated.found + self._stated.beyond), 0.0
        own = None if stream.duration is None else float(stream.duration * (stream.time_base or 0))
        if kind in _STATES_SAMPLES:
            return own, _SAMPLES / stream.sample_rate
        if kind in _STATES_TIME:
            return _duration(container, stream) if own is None else own, lossy
        if kind == "asf":
            return headers.asf_seconds(part), 5 * lossy
        if kind == "mp3" and self._begin:
            frames = headers.xing_frames(self._before(part))
            frame = self._frame_samples / max(1, self._rate)
            # The encoder's delay and padding are cut off, up to four frames of them.
            return None if frames is None else frames * frame, max(lossy, 4 * frame)
        return None, 0.0

    def _compare(self, announced: float) -> None:
        heard = spoken(float(self.heard))
        if announced < self.heard:
            self.notes.add(f"it holds {heard}, more than the {spoken(announced)} that its header announces")
        elif announced > _IMPOSSIBLE:
            self.notes.add(f"it holds {heard}, and its header announces an impossible length")
        else:
            self.notes.add(f"it holds {heard} of the {spoken(announced)} that its header announces")

    def _check_pages(self, part: Part) -> None:
        if missing := ogg.missing(part):
            self.notes.add(f"{missing} of its pages are missing")
        if not ogg.is_finished(part):
            self.notes.add("the end of its stream is not marked, so its end may be missing")

    def _say_what_is_broken(self, kind: str) -> None:
        if self._broken_packets:
            lasts = spoken(float(self._broken)) if self._broken else f"{self._broken_packets} packets"
            self.notes.add(f"broken data was skipped, {lasts} of it")
        if kind not in _FRAMES and self._gaps:
            self.notes.add(f"{spoken(float(self._gaps))} are missing in between, by its own timestamps")
        if kind in _FRAMES and self._lost_bytes:
            self.notes.add(f"{self._lost_bytes} bytes between its frames are no sound")


def _duration(container: "InputContainer", stream: "AudioStream") -> float | None:
    """Return what Matroska announces: for the track, or for the whole file where it has no other tracks."""
    said = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", "").strip("\0"))
    if said:
        hours, minutes, seconds = (float(part) for part in said.groups())
        return 3600 * hours + 60 * minutes + seconds
    if len(container.streams) > 1 or container.duration is None:
        return None
    return float(container.duration / 1e6)
