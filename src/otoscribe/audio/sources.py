"""What a recording is read from: a path, bytes, an open file, or a pipe, which is kept in a file first."""

import errno
import io
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from otoscribe.errors import AudioError, UsageError

Recording = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
"""A path, the content of a file, or a file that was opened in binary mode."""

LARGEST_PIPE = 4 << 30
"""Bytes that are taken from a pipe, which may never end; more is a file's business."""

_BLOCK = 1 << 20


class Source:
    """A recording's bytes from their beginning, in any order.

    Args:
        file: can seek; its present position is the recording's beginning.
        name: of the recording, for messages.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self.name = name
        with _told(name):
            self._beginning = file.tell()
            file.seek(0, os.SEEK_END)  # not everything that can seek says where it is then
            self.size = max(0, file.tell() - self._beginning)

    def read(self, start: int, size: int) -> bytes:
        """Return `size` bytes from `start` on, fewer only at the end."""
        with _told(self.name):
            self._file.seek(self._beginning + start)
            data = self._file.read(size)
        # Whoever copies into a buffer relies on the length, which a file of Python may not keep.
        return _bytes(data, self.name)[:size]


class Part:
    """A source from `start` to `end`, as a file for decoders written in C.

    What reading raises, an interruption included, would be lost on its way through C: it is kept in
    `failure`, and the decoder sees the end of the file.
    """

    def __init__(self, source: Source, start: int, end: int) -> None:
        self.source = source
        self.size = end - start
        self._start = start
        self.name = "recording"
        """Its ending is a hint of the format for FFmpeg, where the content gives none."""
        self.failure: BaseException | None = None
        self.allowance = self.size
        """Bytes that may still be read on; after them the file seems to end."""
        self._patches: dict[int, bytes] = {}
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        try:
            data = self.at(self._position, min(self.allowance, self.size if size < 0 else size))
        except BaseException as error:
            self.failure = error
            return b""
        self._position += len(data)
        self.allowance -= len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move and return the position, unchanged where a damaged header asks for an impossible one."""
        position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        if position >= 0:
            self._position = position
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def at(self, start: int, size: int) -> bytes:
        """Return `size` bytes from `start` on, fewer at the end, wherever the position is."""
        left = max(0, self.size - start)
        data = self.source.read(self._start + start, min(size, left)) if left else b""
        for place, patch in self._patches.items():
            if place < start + len(data) and start < place + len(patch):
                changed = bytearray(data)
                for index, byte in enumerate(patch, place - start):
                    if 0 <= index < len(data):
                        changed[index] = byte
                data = bytes(changed)
        return data

    def within(self, start: int, end: int) -> "Part":
        """Return a part of this part."""
        return Part(self.source, self._start + start, self._start + end)

    def patched(self, patches: dict[int, bytes]) -> "Part":
        """Return this part with other bytes in some places."""
        changed = self.within(0, self.size)
        changed._patches = patches
        return changed

    def check(self) -> None:
        """Raise what reading raised."""
        if self.failure is not None:
            raise self.failure


def name_of(recording: Recording) -> str | None:
    """Return the path that names a recording; None for bytes and for files without a name.

    Raises:
        UsageError: it is nothing that can be read.
    """
    if isinstance(recording, str | os.PathLike):
        return os.fsdecode(recording)
    if isinstance(recording, bytes | bytearray | memoryview):
        return None
    if isinstance(recording, type) or not callable(getattr(recording, "read", None)):
        raise UsageError(
            f"A recording is a path, bytes or a file opened in binary mode, not {_short(recording)}."
        )
    name = getattr(recording, "name", None)
    if name == "<stdin>":
        return "-"
    return name if isinstance(name, str) else None


@contextmanager
def opened(recording: Recording) -> Iterator[Source]:
    """Open a recording for reading.

    Raises:
        AudioError: it is missing, a folder, a device, or cannot be read; or a pipe gives too much.
        UsageError: it is nothing that can be read.
    """
    name = name_of(recording)
    if isinstance(recording, str | os.PathLike):
        with _regular_file(recording) as file:
            yield Source(file, os.fsdecode(recording))
    elif isinstance(recording, bytes | bytearray | memoryview):
        yield Source(io.BytesIO(bytes(recording)), "The recording")
    else:
        said = {None: "The recording", "-": "Standard input"}.get(name, name) or "The recording"
        with _seekable(recording, said) as file:
            yield Source(file, said)


@contextmanager
def _seekable(file: BinaryIO, name: str) -> Iterator[BinaryIO]:
    with _told(name):
        able = file.seekable() if hasattr(file, "seekable") else hasattr(file, "seek")
    if able:
        yield file
        return
    with tempfile.TemporaryFile() as kept:
        with _told(name):
            _keep(file, kept, name)
        kept.seek(0)
        yield kept


def _bytes(data: object, name: str) -> bytes:
    if data is None:
        raise AudioError(f"{name} gives nothing at the moment; open it so that reading waits.")
    if not isinstance(data, bytes | bytearray | memoryview):
        raise AudioError(f"{name} gives text instead of bytes; open it in binary mode, 'rb'.")
    return bytes(data)


def _keep(pipe: BinaryIO, kept: IO[bytes], name: str) -> None:
    size = 0
    while data := _bytes(pipe.read(_BLOCK), name):
        size += len(data)
        if size > LARGEST_PIPE:
            raise AudioError(
                f"{name} gives more than {LARGEST_PIPE >> 30} GB; save the recording to a file first."
            )
        kept.write(data)


@contextmanager
def _regular_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    # Opened here, not by the decoder: errors have names, any bytes may stand in a file name, no name is taken
    # for an address, and O_NONBLOCK keeps a named pipe from blocking before it can be refused.
    try:
        flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        raise AudioError(_cannot_open(path, error)) from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise AudioError(_not_a_file(path, is_folder=stat.S_ISDIR(mode)))
    with os.fdopen(descriptor, "rb") as file:
        yield file


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Make sentences of what goes wrong while reading; archives and connections raise what they like."""
    try:
        yield
    except AudioError:
        raise
    except Exception as error:
        raise AudioError(f"{name} cannot be read: {_reason(error)}.") from error


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
    return (
        f"{path} is a pipe or device; send what it gives to otoscribe caption -, or save it to a file first."
    )


def _reason(error: Exception) -> str:
    said = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return " ".join(said.lower().split()).rstrip(".")


def _short(thing: object) -> str:
    text = repr(thing)
    return text if len(text) <= 60 else f"{text[:60]}…"
