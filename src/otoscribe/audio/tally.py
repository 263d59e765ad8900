"""What is announced, heard, broken and left out while a file is decoded: where its notes come from."""

import re
from typing import TYPE_CHECKING

from otoscribe.audio import headers, ogg
from otoscribe.audio.chunks import Stated
from otoscribe.audio.headers import TAGS
from otoscribe.audio.notes import Notes, spoken
from otoscribe.audio.sources import Part

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container.input import InputContainer
    from av.packet import Packet

_STATES_SAMPLES = ("flac", "tta", "wv", "ape", "tak", "shn")
"""Formats whose header states the samples."""

_STATES_TIME = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
"""Formats whose header states a duration."""

_STAMPED = ("ogg", "flac", *_STATES_TIME)
"""Formats in which every packet has its time, to be relied on."""

_FRAMES = ("mp3", "aac", "ac3", "eac3", "dts", "loas")
"""Formats that are frames one after another, so that bytes between them are lost, or no sound."""

_GAP = 0.05
"""Seconds by which timestamps may be rounded."""

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

    def __init__(self, notes: Notes, stated: Stated | None) -> None:
        self.notes = notes
        self.last = self.end = 0
        """Where the last packet that was decoded begins, and where it ends."""
        self._packet_begin = self._packets_end = 0
        self._stated = stated
        self._format = ""
        self._unit = 0.0
        self._begin: int | None = None
        self._samples: dict[int, int] = {}
        self._kind: tuple[int, int] | None = None
        self._changes = False
        self._frame_samples = 0
        self._lost_bytes = 0
        self._tag = self._joined = False
        self._broken_bytes = self._last_size = 0
        self._broken_seconds = self._gaps = 0.0
        self._expected: float | None = None
        self._lasts_unknown = False

    @property
    def heard(self) -> float:
        """Seconds."""
        return sum(samples / rate for rate, samples in self._samples.items())

    def start(self, container: "InputContainer", stream: "AudioStream") -> None:
        """Take note of what is going to be decoded."""
        self._format = container.format.name
        self._unit = float(stream.time_base or 0)

    def packet(self, packet: "Packet[AudioStream]", part: Part) -> None:
        """Count a packet before it is decoded."""
        place, size, pts, duration = packet.pos, packet.size, packet.pts, packet.duration
        if size:
            self._last_size = size
        if place is not None and size:
            if self._begin is None:
                self._begin = place
            elif place > self._packets_end and self._format in _FRAMES:
                self._between(part.at(self._packets_end, 3), place - self._packets_end)
            self._packet_begin = place
            self._packets_end = max(self._packets_end, place + size)
        self._lasts_unknown = pts is None or not duration
        if pts is None:
            return
        begins = pts * self._unit
        if self._expected is not None and begins > self._expected + _GAP:
            self._gaps += begins - self._expected
        self._expected = begins + (duration or 0) * self._unit

    def _between(self, begins: bytes, size: int) -> None:
        if begins in TAGS:
            self._tag = True
        else:
            self._lost_bytes += size

    def broken(self, packet: "Packet[AudioStream]") -> None:
        """Count a packet that could not be decoded."""
        data = bytes(packet)
        if data[:3] in TAGS:
            self._tag = True
        elif any(data):  # zeros fill up some files
            self._broken_bytes += len(data)
            self._broken_seconds += (packet.duration or 0) * self._unit

    def frame(self, frame: "AudioFrame") -> None:
        """Count what was decoded."""
        rate, samples = frame.sample_rate, frame.samples
        kind = (rate, frame.layout.nb_channels)
        if self._kind is None:
            self._kind = kind
        elif kind != self._kind:
            self._changes = True
        if rate == self._kind[0]:  # the first frames may have been cut, and rates may change later
            self._frame_samples = max(self._frame_samples, samples)
        self._samples[rate] = self._samples.get(rate, 0) + samples
        self._joined = self._joined or self._tag
        self.last, self.end = self._packet_begin, self._packets_end
        if self._lasts_unknown and self._expected is not None:
            self._expected += samples / rate

    def stopped(self) -> None:
        """Say that the file cannot be read on."""
        self.notes.add(f"after {spoken(self.heard)} nothing more can be decoded")

    def finish(self, container: "InputContainer", stream: "AudioStream", part: Part) -> None:
        """Say what is odd, now that all was decoded."""
        kind = self._format
        if self._stated is not None and self._stated.bytes is None:
            self.notes.add("its header was never finished, so its end may be missing")
        if self._stated is not None and self._stated.more:
            self.notes.add("it holds a second chunk of audio, which is not heard")
        if kind == "ogg":
            self._check_pages(part)
        if self._joined:
            self.notes.add("several recordings are joined in it, as tags between its frames show")
        if self._changes:
            self.notes.add("its sample rate or number of channels changes within it, and is followed")
        announced, tolerance = self._announced(kind, container, stream, part)
        if announced is not None and abs(announced - self.heard) > tolerance:
            self._compare(announced)
        elif kind == "mp3":
            self._check_bytes(part)
        self._say_what_is_broken(kind)
        before = self._before(part)
        if kind in _FRAMES and any(before) and before[:3] not in TAGS and headers.xing_frames(before) is None:
            self.notes.add(f"{self._begin} bytes before its first frame are no sound")

    def _before(self, part: Part) -> bytes:
        begin = self._begin or 0
        return part.at(max(0, begin - _XING), min(begin, _XING))

    def _announced(
        self, kind: str, container: "InputContainer", stream: "AudioStream", part: Part
    ) -> tuple[float | None, float]:
        """Return how many seconds the header announces, if it does, and by how many it may be wrong."""
        own = float(stream.duration * (stream.time_base or 0)) if stream.duration else None
        if self._stated is not None:
            if self._stated.differs():
                return self.heard * (self._stated.bytes or 0) / max(1, self._stated.found), 0.0
            # What is coded may be there, and yet not decoded.
            is_plain = stream.codec_context.name.startswith("pcm") or kind != "wav" or not self._stated.bytes
            return (None, 0.0) if is_plain else (own, 2 * _LOSSY_SECONDS)
        if kind in _STATES_SAMPLES:
            return own, _SAMPLES / max(1, stream.sample_rate)
        if kind in _STATES_TIME:
            return _duration(container, stream) if own is None else own, _LOSSY_SECONDS
        if kind == "asf":
            return headers.asf_seconds(part), 5 * _LOSSY_SECONDS
        if kind == "mp3" and self._kind is not None:
            frames = headers.xing_frames(self._before(part))
            frame = self._frame_samples / self._kind[0]
            # The encoder's delay and padding are cut off, up to four frames of them.
            return None if frames is None else frames * frame, max(_LOSSY_SECONDS, 4 * frame)
        return None, 0.0

    def _check_bytes(self, part: Part) -> None:
        stated = headers.xing_bytes(self._before(part))
        missing = 0 if stated is None else stated - (part.size - (self._begin or 0))
        if missing > _SAMPLES:
            self.notes.add(f"it is {missing} bytes shorter than its header announces")

    def _compare(self, announced: float) -> None:
        heard, said = spoken(self.heard), spoken(announced)
        difference = spoken(abs(announced - self.heard))
        if announced > _IMPOSSIBLE:
            self.notes.add(f"it holds {heard}, and its header announces an impossible length")
        elif heard == said:
            more = "more" if self.heard > announced else "less"
            self.notes.add(f"it holds {difference} {more} than the {said} that its header announces")
        elif announced < self.heard:
            self.notes.add(f"it holds {heard}, more than the {said} that its header announces")
        else:
            self.notes.add(f"it holds {heard} of the {said} that its header announces")

    def _check_pages(self, part: Part) -> None:
        stream = ogg.stream(part)
        if stream.missing:
            self.notes.add(f"{stream.missing} of its pages are missing")
        if not stream.is_finished:
            self.notes.add("the end of its stream is not marked, so its end may be missing")

    def _say_what_is_broken(self, kind: str) -> None:
        # A last byte or two make the length of a chunk even.
        is_padding = self._stated is not None and self._broken_bytes == self._last_size < 3
        if self._broken_bytes and not is_padding:
            # A parser makes one packet of all that it does not know, whose duration means nothing.
            in_seconds = self._broken_seconds and kind not in _FRAMES
            size = spoken(self._broken_seconds) if in_seconds else f"{self._broken_bytes} bytes"
            self.notes.add(f"broken data was skipped, {size} of it")
        if kind in _STAMPED and self._gaps:
            self.notes.add(f"{spoken(self._gaps)} are missing in between, by its own timestamps")
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
