"""Large files of word vectors as streams: plain, packed by gzip, or a member of a ZIP archive.

A stream is read from its beginning to its end in blocks, and what is not wanted is dropped at once, so
reading a file of gigabytes holds a block and the wanted rows.
"""

import gzip
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from otoscribe.errors import WeightsError

BLOCK = 1 << 20
"""Bytes that are read at once."""
LONGEST = 1 << 12
"""Bytes of the longest word; a longer one shows that the file is another or damaged."""
WIDEST = 1 << 14
"""Columns, at most, for the same reason."""


@contextmanager
def opened(path: Path, member: str) -> Iterator[IO[bytes]]:
    """Open a file, and turn every way in which reading it may fail into a sentence.

    Args:
        path: a plain file, or one whose name ends in .gz or .zip.
        member: what to read of a .zip.

    Raises:
        WeightsError: the file cannot be read, was cut, is damaged, or is in another layout.
    """
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as stream:
                yield cast(IO[bytes], stream)
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
                yield stream
        else:
            with path.open("rb", buffering=BLOCK) as stream:
                yield stream
    except (OSError, EOFError, ValueError, KeyError, struct.error, zlib.error, zipfile.BadZipFile) as error:
        system = error.strerror if isinstance(error, OSError) else None
        reason = (system or str(error) or "it ends too early").strip("'\"").rstrip(".")
        raise WeightsError(
            f"The word vectors in {path} cannot be read: {reason[:1].lower()}{reason[1:]}. "
            "Download them again."
        ) from error


class Blocks:
    """A stream from which words and numbers are taken one after the other.

    Every method raises EOFError where the stream ends too early.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._block = b""
        self._at = 0

    @property
    def position(self) -> int:
        """How many bytes were taken."""
        return self._stream.tell() - (len(self._block) - self._at)

    def until(self, sign: bytes) -> bytes:
        """Take what stands before the next `sign`, and the sign.

        Raises:
            ValueError: it stands further away than the longest word could end.
        """
        while (end := self._block.find(sign, self._at)) < 0:
            if len(self._block) - self._at > LONGEST:
                raise ValueError("it is in another layout, or damaged")
            self._more()
        word = self._block[self._at : end]
        self._at = end + len(sign)
        return word

    def take(self, size: int) -> bytes:
        """Take `size` bytes."""
        while len(self._block) - self._at < size:
            self._more()
        taken = self._block[self._at : self._at + size]
        self._at += size
        return taken

    def numbers(self, form: str) -> tuple[int, ...]:
        """Take little-endian numbers; `form` is as in `struct`."""
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))

    def _more(self) -> None:
        block = self._stream.read(BLOCK)
        if not block:
            raise EOFError("it ends too early")
        self._block, self._at = self._block[self._at :] + block, 0
