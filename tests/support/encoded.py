"""Recordings in many formats, encoded by FFmpeg."""

import io
from typing import NamedTuple

import av
import numpy as np


class Format(NamedTuple):
    """How FFmpeg writes a recording."""

    container: str
    codec: str
    options: tuple[tuple[str, str], ...] = ()
    rate: int = 16000
    bit_rate: int = 64_000
    exact: bool = False
    """Decoding gives the very samples back."""


FORMATS = {
    "wav": Format("wav", "pcm_s16le", exact=True),
    "wav, 24 bits": Format("wav", "pcm_s24le", exact=True),
    "wav, float": Format("wav", "pcm_f32le", exact=True),
    "wav, 8 bits": Format("wav", "pcm_u8"),
    "wav, mu-law": Format("wav", "pcm_mulaw"),
    "wav, ADPCM": Format("wav", "adpcm_ms"),
    "wav, MP3 in it": Format("wav", "libmp3lame"),
    "rf64": Format("wav", "pcm_s16le", (("rf64", "always"),), exact=True),
    "w64": Format("w64", "pcm_s16le", exact=True),
    "flac": Format("flac", "flac", exact=True),
    "opus": Format("ogg", "libopus"),
    "mp3": Format("mp3", "libmp3lame"),
    "mp2": Format("mp2", "mp2"),
    "m4a": Format("ipod", "aac"),
    "m4a, lossless": Format("ipod", "alac", exact=True),
    "mp4": Format("mp4", "aac"),
    "mp4, fragmented": Format("mp4", "aac", (("movflags", "frag_keyframe+empty_moov"),)),
    "mov": Format("mov", "pcm_s16be", exact=True),
    "aac": Format("adts", "aac"),
    "webm": Format("webm", "libopus"),
    "mkv": Format("matroska", "libopus"),
    "wma": Format("asf", "wmav2"),
    "aiff": Format("aiff", "pcm_s16be", exact=True),
    "caf": Format("caf", "pcm_s16be", exact=True),
    "au": Format("au", "pcm_s16be", exact=True),
    "avi": Format("avi", "libmp3lame"),
    "flv": Format("flv", "aac"),
    "ts": Format("mpegts", "aac"),
    "wavpack": Format("wv", "wavpack", exact=True),
    "tta": Format("tta", "tta", exact=True),
    "amr": Format("amr", "libopencore_amrnb", rate=8000, bit_rate=12_200),
    "ac3": Format("ac3", "ac3", rate=48000, bit_rate=192_000),
    "ac3, large frames": Format("ac3", "ac3", rate=48000, bit_rate=640_000),
}


def encoded(name: str, samples: np.ndarray, rate: int | None = None) -> bytes:
    """Encode float samples, [samples, channels]."""
    form = FORMATS[name]
    rate = rate or form.rate
    out = io.BytesIO()
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[samples.shape[1]]
    with av.open(out, "w", format=form.container, options=dict(form.options)) as container:
        stream = container.add_stream(form.codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.T.astype(np.float32)), format="fltp", layout=layout
        )
        frame.sample_rate = rate
        stream.bit_rate = form.bit_rate
        formats = [one.name for one in stream.codec_context.codec.audio_formats]
        stream.codec_context.format = min(formats, key=lambda one: not one.startswith("s16"))
        stream.codec_context.open()
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(stream.codec_context.format, layout, rate, frame_size=size)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            for packet in stream.encode(part):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return out.getvalue()
