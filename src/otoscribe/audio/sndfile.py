"""libsndfile, and what its headers hide.

It decodes WAV, FLAC, Ogg Vorbis and Opus, MP3, AIFF and more, told apart by content, not by name.
"""

import errno
import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from otoscribe.audio.waveform import SAMPLE_RATES, Waveform
from otoscribe.errors import AudioError

_BLOCK = 1 << 18
"""Values (samples times channels) decoded at a time: 1 MiB."""

_UNKNOWN_LENGTH = 0x7FFF0000
"""Bytes. Recorders that write into a pipe cannot know the length and state this or more."""

_OGG_PAGE = 27 + 255 + 255 * 255
"""Bytes of the longest page of an Ogg file."""

_STATED = re.compile(r"^\s*(?:data|SSND|Data Size|riff)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
"""libsndfile's log where a header states more bytes than the file has (WAV, AIFF, AU, W64)."""

_NO_BYTES = re.compile(r"^data : 0$", re.MULTILINE)
"""libsndfile's log of a WAV whose header states that it has no audio."""

_HEADER_BYTES = 4096
"""No WAV without audio is larger, unless it carries notes."""


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[soundfile.SoundFile]:
    """Open for decoding and check what the header says."""
    with _regular_file(path) as raw:
        try:
            file = soundfile.SoundFile(raw)
        except soundfile.LibsndfileError as error:
            size = os.fstat(raw.fileno()).st_size
            if size == 0:
                raise AudioError(f"{path} is empty (0 bytes).") from error
            raise AudioError(
                f"{path} cannot be decoded: {_reason(error)}. WAV, FLAC, Ogg, MP3 and AIFF work; "
                f"convert anything else first, e.g. ffmpeg -i INPUT OUTPUT.flac."
            ) from error
        with file:
            if file.samplerate not in SAMPLE_RATES:
                raise AudioError(
                    f"{path} has a sample rate of {file.samplerate} Hz; from {SAMPLE_RATES[0]} to "
                    f"{SAMPLE_RATES[-1]} Hz can be used, so its header is probably damaged."
                )
            _check_stated_bytes(path, file, raw)
            if file.format == "OGG":
                _check_last_page(path, raw)
            yield file


class _Reader(io.BufferedReader):
    """A file that stays where it is when libsndfile, misled by a damaged header, seeks to where nothing is.

    libsndfile then sees the unchanged position and reports the damage; a raised error would not reach it and
    be printed instead.
    """

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move and return the position, unchanged if there is no such position."""
        try:
            return super().seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return self.tell()


@contextmanager
def _regular_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    # Opened here, not by libsndfile: errors have names, any bytes may stand in a file name, and O_NONBLOCK
    # keeps a named pipe from blocking before it can be refused.
    try:
        flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        raise AudioError(_cannot_open(path, error)) from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise AudioError(_not_a_file(path, is_folder=stat.S_ISDIR(mode)))
    # Opened by number, the file has no name whose ending soundfile could mistake for its format.
    with _Reader(io.FileIO(descriptor, "rb")) as raw:
        yield raw


def _cannot_open(path: str | os.PathLike[str], error: OSError | ValueError) -> str:
    if not os.fspath(path):
        return "An empty file name was given; name a recording."
    # Windows refuses to open a folder with "permission denied".
    if os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises for names that are too long)
        return _not_a_file(path, is_folder=True)
    number = error.errno if isinstance(error, OSError) else errno.EINVAL
    if number in (errno.ENOENT, errno.ENOTDIR):
        return f"{path} does not exist."
    if number in (errno.EACCES, errno.EPERM):
        return f"{path} may not be read: permission denied."
    if number == errno.ENXIO:
        return _not_a_file(path, is_folder=False)
    return f"{path} cannot be opened: {os.strerror(number or errno.EIO).lower()}."


def _not_a_file(path: str | os.PathLike[str], is_folder: bool) -> str:
    if is_folder:
        return f"{path} is a folder; name the recordings in it, e.g. {Path(path) / '*.wav'}."
    return f"{path} is a pipe or device; save the recording to a file first."


def _reason(error: soundfile.LibsndfileError) -> str:
    text: str = error.error_string
    return text.removeprefix("Error : ").strip().rstrip(".").lower()


def _check_stated_bytes(path: str | os.PathLike[str], file: soundfile.SoundFile, raw: BinaryIO) -> None:
    for stated, found in _STATED.findall(file.extra_info):
        # A few bytes too many is how some writers count the header; nothing is missing then.
        if int(found) + 16 < int(stated) < _UNKNOWN_LENGTH:
            raise _cut_short(path, f"its header announces {stated} bytes of audio, {found} are there")
    # What recorders that lost power leave behind.
    size = os.fstat(raw.fileno()).st_size
    if _NO_BYTES.search(file.extra_info) and not file.frames and size > _HEADER_BYTES:
        raise _cut_short(path, f"its header announces 0 bytes of audio, and the file has {size} bytes")


def _check_last_page(path: str | os.PathLike[str], raw: BinaryIO) -> None:
    """Refuse an Ogg file whose last page is not whole and marked as the last (RFC 3533, section 6)."""
    position, size = raw.tell(), os.fstat(raw.fileno()).st_size
    raw.seek(max(0, size - _OGG_PAGE))
    tail = raw.read()
    raw.seek(position)  # libsndfile goes on from here
    page = tail[max(0, tail.rfind(b"OggS")) :]
    # Byte 5 holds the flags, 4 marking the end; byte 26 how many lengths follow, which add up to the rest.
    if len(page) < 27 or not page[5] & 4 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]]):
        raise _cut_short(path, "it is cut off before the end of its stream")


def _cut_short(path: str | os.PathLike[str], how: str) -> AudioError:
    return AudioError(f"{path} is cut short or damaged: {how}. Copy or download it again.")


def blocks(path: str | os.PathLike[str], file: soundfile.SoundFile) -> Iterator[Waveform]:
    """Decode block by block into the mean of the channels."""
    size = max(1, _BLOCK // file.channels)
    done = 0
    while True:
        try:
            block = file.read(size, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise _cut_short(path, f"after {done / file.samplerate:.1f} s, {_reason(error)}") from error
        if not len(block):
            break
        done += len(block)
        with np.errstate(over="ignore", invalid="ignore"):  # found, and said, when the blocks are gathered
            yield block.mean(axis=1)
    # An MP3 that does not state its length only guesses it; one that does may be a frame or two off.
    missing = (file.frames - done) / file.samplerate
    if missing > (1.0 if file.format == "MP3" else 0.0) and _states_length(path, file):
        whole = file.frames / file.samplerate
        raise _cut_short(path, f"it announces {whole:.1f} s, the last {missing:.1f} s are missing")


def _states_length(path: str | os.PathLike[str], file: soundfile.SoundFile) -> bool:
    if file.format != "MP3":
        return True
    with Path(path).open("rb") as raw:
        beginning = raw.read(1 << 20)
    return any(tag in beginning for tag in (b"Xing", b"Info", b"VBRI"))
