"""Shards: arrays on disk, appended by one process and mapped by any number of others.

A shard is two files with one name:

    NAME.values    arrays one after the other, each from a multiple of 64 bytes on: times, then features
    NAME.index     a record an array, appended once the array is written; see `RECORD`

A process that is killed at any byte leaves at most an array without a record, or half a record: no reader
takes either for more. Nobody writes into a shard of an earlier process.
"""

import contextlib
import mmap
import os
import secrets
import struct
import zlib
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

RECORD = struct.Struct("<32sQIIII")
"""Key; start in bytes; frames; width; CRC-32 of the array's bytes; CRC-32 of the record up to here."""
ALIGNMENT = 64
"""Bytes; what vector instructions read at once."""
TIMES = np.dtype("<f8")

Values = NDArray[np.float32] | NDArray[np.float16]


class Entry(NamedTuple):
    """Where an array is."""

    shard: Path
    """Path of its shard, without an ending."""
    key: bytes
    """32 bytes that name it."""
    start: int
    """In bytes, within the values."""
    frames: int
    width: int
    checksum: int
    """CRC-32 of its bytes."""

    def size(self, kind: np.dtype[np.floating]) -> int:
        """Return how many bytes it has."""
        return self.frames * (2 * TIMES.itemsize + self.width * kind.itemsize)


class Embedding(NamedTuple):
    """What an encoder made of a recording."""

    values: Values
    """[frames, width], as stored."""
    times: NDArray[np.float64]
    """[frames, 2], the part of the recording under each frame, in seconds."""


def values_of(shard: Path) -> Path:
    """Return the path of a shard's values."""
    return shard.with_name(f"{shard.name}.values")


def index_of(shard: Path) -> Path:
    """Return the path of a shard's index."""
    return shard.with_name(f"{shard.name}.index")


def shards_in(folder: Path) -> list[Path]:
    """Return the shards of a folder that have an index, in the order of their names."""
    return sorted(path.with_suffix("") for path in folder.glob("*.index"))


class ShardWriter:
    """Appends arrays to a shard of its own, which is made in a folder that is there.

    Raises:
        OSError: the files cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        while True:
            self.shard = folder / secrets.token_hex(8)
            self._index = os.open(index_of(self.shard), flags, 0o666)
            if _lock(self._index) and os.fstat(self._index).st_nlink:
                break
            os.close(self._index)  # somebody prunes, and took it for an empty shard
        try:
            self._values = os.open(values_of(self.shard), flags, 0o666)
        except OSError:
            os.close(self._index)
            raise
        self._end = 0

    def append(self, key: bytes, embedding: Embedding) -> None:
        """Write an array, and then that it is there.

        Raises:
            OSError: it cannot be written; nothing more can be appended then.
        """
        values, times = embedding
        body = np.ascontiguousarray(times, TIMES).tobytes() + np.ascontiguousarray(values).tobytes()
        start = -(-self._end // ALIGNMENT) * ALIGNMENT
        write_all(self._values, bytes(start - self._end) + body)
        self._end = start + len(body)
        frames, width = values.shape
        fields = RECORD.pack(key, start, frames, width, zlib.crc32(body), 0)[:-4]
        write_all(self._index, fields + struct.pack("<I", zlib.crc32(fields)))

    def close(self) -> None:
        """Let the disk have everything, and others prune the shard."""
        for file in (self._values, self._index):
            with contextlib.suppress(OSError):
                os.fsync(file)
            os.close(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def write_all(file: int, data: bytes) -> None:
    """Write all bytes, where one call may write some."""
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def read_entries(shard: Path, after: int = 0) -> list[Entry | None]:
    """Read a shard's index.

    Args:
        shard: the shard.
        after: records that are known already.

    Returns:
        The other whole records; None for one that is damaged. Half a record at the end is not counted: it is
        being written, or was when its writer was killed.
    """
    try:
        with index_of(shard).open("rb") as file:
            file.seek(after * RECORD.size)
            data = file.read()
    except FileNotFoundError:  # pruned meanwhile
        return []
    whole = len(data) - len(data) % RECORD.size
    return [_entry(shard, data[at : at + RECORD.size]) for at in range(0, whole, RECORD.size)]


def _entry(shard: Path, record: bytes) -> Entry | None:
    *fields, own = RECORD.unpack(record)
    return Entry(shard, *fields) if own == zlib.crc32(record[:-4]) else None


def is_whole(entry: Entry, kind: np.dtype[np.floating]) -> bool:
    """Read an array's bytes, and tell whether they are those that were written."""
    try:
        # Not by the map, so that what is only checked is not held.
        with values_of(entry.shard).open("rb") as file:
            file.seek(entry.start)
            data = file.read(entry.size(kind))
    except OSError:
        return False
    return len(data) == entry.size(kind) and zlib.crc32(data) == entry.checksum


class ShardMap:
    """A shard's values as memory: the system reads pages when they are used, and `release` drops them."""

    def __init__(self, shard: Path, kind: np.dtype[np.floating]) -> None:
        self._path = values_of(shard)
        self._kind = kind
        self._map: mmap.mmap | None = None
        self._bytes: NDArray[np.uint8] = np.empty(0, np.uint8)

    def at(self, entry: Entry) -> Embedding:
        """Return an array without copying it. Who writes into it writes into a copy of the page."""
        stop = entry.start + entry.size(self._kind)
        if stop > len(self._bytes):  # mapped before it was written
            with self._path.open("rb") as file:
                # Copied when written to: torch.from_numpy wants arrays that can be.
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            self._bytes = np.frombuffer(self._map, np.uint8)
        middle = entry.start + entry.frames * 2 * TIMES.itemsize
        times = self._bytes[entry.start : middle].view(TIMES).reshape(entry.frames, 2)
        values = self._bytes[middle:stop].view(self._kind).reshape(entry.frames, entry.width)
        return Embedding(values, times)

    def release(self) -> None:
        """Hold no page in memory. Arrays stay what the file says: a page is read again when it is used."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
            self._map.madvise(mmap.MADV_DONTNEED)


def _lock(file: int) -> bool:
    """Lock a file for as long as it is open, or tell that another process has."""
    try:
        import fcntl
    except ImportError:  # Windows, which removes no file that is open
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_in_use(shard: Path) -> bool:
    """Tell whether a process appends to a shard."""
    try:
        file = os.open(index_of(shard), os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not _lock(file)
    finally:
        os.close(file)


def remove(shard: Path) -> None:
    """Remove a shard; whoever has mapped it keeps what is mapped.

    Raises:
        OSError: that is not possible: on Windows, because somebody has it open.
    """
    # A shard without an index is none any more, so this order.
    index_of(shard).unlink(missing_ok=True)
    values_of(shard).unlink(missing_ok=True)
