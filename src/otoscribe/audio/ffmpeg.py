"""FFmpeg, by PyAV: decodes what a file holds, and never opens what it names.

A file may be a list of other files or of addresses (HLS, DASH, concat, SDP), a picture, a device. Here FFmpeg
reads from bytes that were opened before; the formats and decoders that it may choose are listed, and there is
no protocol that it may use.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame, format_dtypes
from av.audio.stream import AudioStream
from av.container.input import InputContainer
from numpy.typing import NDArray

from otoscribe.audio.sources import Part
from otoscribe.audio.tally import Tally
from otoscribe.audio.waveform import Block, can_be, check_kind, scaled
from otoscribe.errors import AudioError

_FORMATS = (
    "3dostr,aa,aac,ac3,ac4,act,adx,aea,aiff,amr,amrnb,amrwb,ape,apm,aptx,asf,ast,au,avi,avr,boa,bonk,brstm,caf,"
    "codec2,dfpwm,dsf,dss,dts,dtshd,dv,eac3,epaf,flac,flv,g722,g723_1,g729,gsm,hca,hcom,iff,ilbc,ircam,kvag,latm,"
    "lc3,loas,matroska,mlp,mmf,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nsv,nut,ogg,oma,osq,paf,pvf,qcp,qoa,"
    "rka,rm,sbc,sds,shn,sln,sol,sox,spdif,tak,truehd,tta,voc,vqf,w64,wav,wavarc,wsd,wtv,wv,xa,xwma"
)
"""Containers that may hold sound. Missing are lists of names, pictures, text, raw video and devices."""

_BUFFER = 1 << 16
"""Bytes that FFmpeg asks for at a time."""

_PLAIN = (b"RIFF", b"RF64", b"FORM")
"""What WAV and AIFF begin with. In case samples are a disguised DTS, FFmpeg decodes the first 5 MB to find
out, which takes most of the time of a short recording; the first buffer tells as well."""

_DTS = np.array([0x7FFE8001, 0xFE7F0180, 0x1FFFE800, 0xFF1F00E8], ">u4").view("<u4")
"""What every frame of DTS begins with, in words of 16 or 14 bits of either order."""

_CODED = re.compile(rb"\x0b\x77|\x77\x0b|\xff[\xe2-\xff][^\xf0-\xff]|\x56[\xe0-\xff]", re.DOTALL)
"""What AC-3, MP3 and AAC begin with, as which FFmpeg knows samples only if they begin so."""

_ALLOWANCE = 1 << 28
"""Bytes that FFmpeg may read on before there is sound (again): it might take hours over a file of nothing."""

_ALLOWANCE_OF_SOUND = 1 << 25
"""The same where nothing but sound belongs: there FFmpeg is slow, and keeps what it does not know."""

_ONLY_SOUND = ("mp3", "aac", "ac3", "eac3", "dts", "loas", "flac", "ogg")
"""Formats of nothing but sound."""

_SAMPLES = 1 << 18
"""Values (samples times channels) that are gathered before they are passed on: 1 MiB."""


_PLANES = 8
"""Planes of one frame that PyAV counts rightly; beyond, it reads on until it finds a zero in memory."""


class NotFFmpegs(Exception):  # noqa: N818
    """FFmpeg knows no way to read this; another decoder may."""


def decoded(part: Part, tally: Tally) -> Iterator[Block]:
    """Decode the sound of a file.

    Args:
        part: where the file begins.
        tally: is told what is found, and knows at the end what is missing.

    Raises:
        NotFFmpegs: before the first block.
        AudioError: it holds no sound, or a sample rate or number of channels that cannot be.
    """
    with _opened(part) as container:
        stream = _sound(container, part.source.name, tally)
        tally.start(container, stream)
        gathered: list[NDArray[Any]] = []
        kind: tuple[object, ...] = ()
        rate = values = 0
        for frame in _frames(container, stream, part, tally):
            samples = _samples(frame)
            now = (frame.sample_rate, samples.shape[1], samples.dtype)
            if gathered and (now != kind or values >= _SAMPLES):
                yield _block(gathered, rate)
                gathered, values = [], 0
            kind, rate = now, frame.sample_rate
            gathered.append(samples)
            values += samples.size
        if gathered:
            yield _block(gathered, rate)
        tally.finish(container, stream, part)


@contextmanager
def _opened(part: Part) -> Iterator[InputContainer]:
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "none", "codec_whitelist": _decoders()}
    if part.at(0, 4) in _PLAIN:
        options["probesize"] = str(_BUFFER)
        if _holds_samples(part):
            options["max_probe_packets"] = "1"  # FFmpeg would hold all formats that it knows against them
    part.allowance = _ALLOWANCE
    try:
        container = av.open(part, "r", options=options, buffer_size=_BUFFER, metadata_errors="replace")
    except (av.FFmpegError, ValueError, OverflowError) as error:
        part.check()
        raise NotFFmpegs from error
    with container:
        part.check()
        yield container


def _holds_samples(part: Part) -> bool:
    """Tell whether nothing in the first buffers of a WAV looks as if its samples were something else."""
    place = part.at(0, _BUFFER).find(b"data")
    audio = part.at(place + 8, 2 * _BUFFER)
    words = (np.frombuffer(audio[at : at + (len(audio) - at) // 4 * 4], "<u4") for at in (0, 2))
    is_dts = any(np.isin(pairs, _DTS).any() for pairs in words)
    return place > 0 and not is_dts and not _CODED.match(audio)


@cache
def _decoders() -> str:
    return ",".join(name for name in sorted(av.codecs_available) if _decodes_sound(name))


def _decodes_sound(name: str) -> bool:
    try:
        return av.Codec(name, "r").type == "audio"
    except ValueError:  # it only encodes
        return False


def _sound(container: InputContainer, name: str, tally: Tally) -> AudioStream:
    streams = [stream for stream in container.streams.audio if stream.codec_context is not None]
    if not streams:
        if container.streams.audio:
            raise AudioError(f"{name} holds sound in a coding that cannot be decoded; convert it first.")
        raise AudioError(f"{name} holds no sound{', only pictures' if container.streams.video else ''}.")
    best = container.streams.best("audio")
    stream = best if best in streams else streams[0]
    # 0x38 means AMR to FFmpeg, and Natural MicroSystems' ADPCM to libsndfile, which writes such files.
    if container.format.name == "wav" and stream.codec_context.name == "amrnb":
        raise NotFFmpegs
    if len(streams) > 1:
        tally.notes.add(f"it holds {len(streams)} sound tracks, of which one is heard")
    stream.codec_context.thread_count = 1  # the recording beside this one needs the other cores
    if stream.codec_context.name == "flac":
        # FLAC states a checksum for every frame; broken ones would otherwise be decoded into noise.
        stream.codec_context.options = {"err_detect": "crccheck+explode"}
    return stream


def _frames(container: InputContainer, stream: AudioStream, part: Part, tally: Tally) -> Iterator[AudioFrame]:
    packets = container.demux(stream)
    part.allowance = allowance = _ALLOWANCE_OF_SOUND if container.format.name in _ONLY_SOUND else _ALLOWANCE
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, ValueError):
            part.check()
            tally.stopped()
            return
        part.check()
        if packet is None:
            if not part.allowance:
                tally.stopped()
            return
        tally.packet(packet, part)
        try:
            frames = packet.decode()
        except av.FFmpegError:
            tally.broken(packet)
            continue
        for frame in frames:
            if tally.heard and not can_be(frame.layout.nb_channels, frame.sample_rate):
                tally.broken(packet)
                continue
            check_kind(part.source.name, frame.layout.nb_channels, frame.sample_rate)
            part.allowance = allowance
            tally.frame(frame)
            yield frame


def _samples(frame: AudioFrame) -> NDArray[Any]:
    """Return [samples, channels], of the type that the decoder gives."""
    if frame.format.is_planar and frame.layout.nb_channels > _PLANES:
        (frame,) = av.AudioResampler(frame.format.packed, frame.layout, frame.sample_rate).resample(frame)
    if len(frame.planes) == 1:  # as in every WAV, whose frames are many and short
        shape = (frame.samples, frame.layout.nb_channels)
        return np.ndarray(shape, format_dtypes[frame.format.name], memoryview(frame.planes[0]))
    array: NDArray[Any] = frame.to_ndarray()
    return array.T


def _block(gathered: list[NDArray[Any]], sample_rate: int) -> Block:
    samples = np.concatenate(gathered)
    if samples.dtype.kind in "iu":
        return Block(scaled(samples, 8 * samples.dtype.itemsize), sample_rate)
    with np.errstate(over="ignore"):  # found, and said, when the samples are checked
        return Block(samples.astype(np.float32), sample_rate)
