"""Recordings that tests write: noise, and files that are broken in every way."""

from pathlib import Path

import numpy as np
import soundfile


def write(path: Path, samples: np.ndarray, rate: int = 16000, **options: str) -> Path:
    soundfile.write(path, samples, rate, **options)
    return path


def noise(seconds: float, rate: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    shape = (round(seconds * rate), channels)
    return (np.random.default_rng(seed).standard_normal(shape) * 0.1).astype(np.float32)


def flac(tmp_path: Path) -> bytes:
    return write(tmp_path / "whole.flac", noise(3, 16000)).read_bytes()


def broken(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / "broken.wav"
    whole = write(tmp_path / "whole.wav", noise(3, 16000)).read_bytes()
    if kind == "no samples":
        return write(path, np.zeros((0, 1)))
    if kind in ("nan", "inf", "overflow"):
        samples = np.full((4000, 2), {"nan": np.nan, "inf": np.inf, "overflow": 3e38}[kind], dtype=np.float32)
        return write(path, samples, subtype="FLOAT")
    if kind == "infinities that cancel":
        return write(path, np.array([[np.inf, -np.inf]], dtype=np.float32), subtype="FLOAT")
    if kind == "999 Hz":
        return write(path, noise(1, 999), 999)
    if kind == "2 GHz":
        return write(path, noise(1, 999), 2_000_000_000)
    if kind in ("ogg page lost", "mp3 half", "aiff half", "w64 half", "caf half", "au half"):
        ending = kind.split()[0]
        content = write(tmp_path / f"whole.{ending}", noise(8, 16000)).read_bytes()
        path.write_bytes(content[:200] if ending == "ogg" else content[: len(content) // 2])
        return path
    contents = {
        "0 bytes": b"",
        "1 byte": b"R",
        "text": b"This is no recording.\n" * 50,
        "zeros": bytes(10_000),
        "noise": np.random.default_rng(1).bytes(10_000),
        "png": b"\x89PNG\r\n\x1a\n" + bytes(500),
        "header only": whole[:12],
        "half a header": whole[:30],
        "wav half": whole[: len(whole) // 2],
        "flac half": flac(tmp_path)[:20_000],
        "flac damaged": flac(tmp_path)[:9000] + bytes(400) + flac(tmp_path)[9400:],
        "no channels": whole[:22] + b"\0\0" + whole[24:],
        "65535 channels": whole[:22] + b"\xff\xff" + whole[24:],
        "0 Hz": whole[:24] + bytes(4) + whole[28:],
        "unknown codec": whole[:20] + b"\x34\x12" + whole[22:],
    }
    path.write_bytes(contents[kind])
    return path


BROKEN = {
    "no samples": "is empty: it holds no samples",
    "nan": "not finite",
    "inf": "not finite",
    "infinities that cancel": "not finite",
    "999 Hz": "1 channel at 999 Hz",
    "2 GHz": "1 channel at 2000000000 Hz",
    "ogg page lost": "damaged from its beginning",
    "0 bytes": "is empty (0 bytes)",
    "1 byte": "is text",
    "text": "is text",
    "zeros": "nothing but zeros",
    "noise": "in a format that is not known",
    "png": "a PNG picture",
    "header only": "damaged from its beginning",
    "half a header": "damaged from its beginning",
    "no channels": "holds nothing that can be heard",
    "65535 channels": "holds nothing that can be heard",
    "0 Hz": "",
    "unknown codec": "a coding that cannot be decoded",
}
"""What is said of each kind that cannot be heard."""

CUT = {
    "mp3 half": "3.96 s of the 8.1 s",
    "aiff half": "4 s of the 8 s",
    "w64 half": "4 s of the 8 s",
    "au half": "4 s of the 8 s",
    "caf half": "3.94 s of the 8 s",
    "wav half": "1.5 s of the 3 s",
    "flac half": "0.512 s of the 3 s",
    "flac damaged": "2.74 s of the 3 s",
}
"""What is noted of each kind that is heard as far as it goes."""
