"""Published files: fetched over HTTP, resumed where it was cut, and kept only if they are what was published.

Nothing here locks. Two processes that fetch one file write the same bytes at the same places of one `.part`
file, and whichever sees the published checksum first gives it its name.
"""

import contextlib
import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otoscribe import files
from otoscribe.errors import DownloadError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 1 << 16
"""Bytes that are read at once."""
BLOCK = 1 << 18
"""Bytes that one request for a part of an archive asks for; members are often neighbours."""
TIMEOUT = (20.0, 60.0)
"""Seconds to connect, and seconds of silence."""

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class PublishedFile:
    """A file that somebody published, known by its checksum."""

    name: str
    """Where it is kept within a folder, with / between the parts."""
    url: str
    """Its address, or that of the archive that holds it under `name`."""
    bytes: int
    sha256: str
    """64 hexadecimal digits."""

    def is_in(self, folder: Path) -> bool:
        """Tell whether the folder has it; compares the size only, which finds files that were cut."""
        try:
            return (folder / self.name).stat().st_size == self.bytes
        except OSError:
            return False

    def is_whole_in(self, folder: Path) -> bool:
        """Tell whether the folder has it, every byte as published."""
        return self.is_in(folder) and files.sha256(folder / self.name) == self.sha256


class RangesRefusedError(DownloadError):
    """The server sends whole files only."""


def download(file: PublishedFile, folder: Path, progress: Progress | None = None) -> None:
    """Fetch a file into a folder, unless it is there already.

    What an earlier, interrupted call left in `NAME.part` is not fetched again, where the server allows that.

    Raises:
        DownloadError: the address cannot be reached or sends something else than what was published, or the
            folder cannot be written.
    """
    target = folder / file.name
    with _written(target):
        if file.is_whole_in(folder):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        # Not by files.written_whole: an interrupted download must find its part again.
        path = target.with_name(target.name + ".part")
        path.touch()
        with path.open("rb+") as part, _session() as session:
            start = part.seek(0, os.SEEK_END)
            while not _completed(part, file, _read(session, file, start, file.bytes), progress):
                part.truncate(0)
                if start == 0:
                    raise _wrong(file, file.url)
                start = part.seek(0)  # the part was of something else
        try:
            path.replace(target)
        except FileNotFoundError:
            if not file.is_whole_in(folder):  # else another process was faster
                raise


def _completed(
    part: io.BufferedRandom, file: PublishedFile, chunks: Iterable[bytes], progress: Progress | None
) -> bool:
    for chunk in chunks:
        part.write(chunk)
        if progress:
            progress(file.name, part.tell(), file.bytes)
    part.flush()
    os.fsync(part.fileno())
    part.seek(0)
    return hashlib.file_digest(part, "sha256").hexdigest() == file.sha256


def keep(file: PublishedFile, folder: Path, content: bytes, source: str) -> None:
    """Write a file whose content came from elsewhere, say an archive, into a folder.

    Raises:
        DownloadError: the content, which came from `source`, is not what was published, or cannot be written.
    """
    if len(content) != file.bytes or hashlib.sha256(content).hexdigest() != file.sha256:
        raise _wrong(file, source)
    with _written(folder / file.name), files.written_whole(folder / file.name) as temporary:
        temporary.write_bytes(content)


class RemoteFile(io.RawIOBase):
    """A published file that is read where it lies, by range requests; buffer it by `BLOCK`.

    Reading raises RangesRefusedError if the server sends whole files only, and DownloadError if it does not
    answer.
    """

    def __init__(self, file: PublishedFile) -> None:
        self._file = file
        self._session = _session()
        self._at = 0

    def close(self) -> None:
        """Close the connection."""
        self._session.close()
        super().close()

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Choose where to read next."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._file.bytes}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fetch as many bytes as the buffer takes."""
        view = memoryview(buffer).cast("B")
        stop = min(self._at + len(view), self._file.bytes)
        content = b"".join(_read(self._session, self._file, self._at, stop, parts_only=True))
        view[: len(content)] = content
        self._at += len(content)
        return len(content)


def _session() -> Any:
    import requests

    return requests.Session()


def _read(
    session: Any, file: PublishedFile, start: int, stop: int, parts_only: bool = False
) -> Iterator[bytes]:
    """Yield the bytes from `start` to `stop`; asks again after a cut, as long as each request brings some."""
    import requests

    at = start
    while at < stop:
        begin = at
        reason = "the connection ended"
        wanted = {"Range": f"bytes={at}-{stop - 1}", "Accept-Encoding": "identity"}
        try:
            with session.get(file.url, headers=wanted, stream=True, timeout=TIMEOUT) as answer:
                if answer.status_code not in (200, 206):
                    raise DownloadError(f"{file.url} answers {answer.status_code} {answer.reason}.")
                whole = answer.status_code == 200
                if whole and parts_only:
                    raise RangesRefusedError(f"The server of {file.url} sends whole files only.")
                if not whole and not answer.headers.get("Content-Range", "").startswith(f"bytes {at}-"):
                    raise DownloadError(f"{file.url} answers with another part than was asked for.")
                skip = at if whole else 0
                for received in answer.iter_content(CHUNK):
                    chunk = received[skip : skip + stop - at]
                    skip -= min(skip, len(received))
                    at += len(chunk)
                    yield chunk
                    if at == stop:
                        return
        except requests.Timeout:
            reason = "the server does not answer in time"
        except requests.exceptions.SSLError:
            reason = "the server's certificate is not accepted"
        except requests.exceptions.ProxyError:
            reason = "the proxy refuses"
        except requests.RequestException:
            reason = "there is no connection" if at == 0 else reason
        if at == begin:
            raise DownloadError(
                f"{file.url} cannot be fetched: {reason} ({at:,} of {file.bytes:,} bytes came)."
            )


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DownloadError(f"{path} cannot be written: {(error.strerror or str(error)).lower()}.") from error


def _wrong(file: PublishedFile, source: str) -> DownloadError:
    return DownloadError(
        f"{file.name} from {source} is not what was published: "
        f"that has {file.bytes:,} bytes and SHA-256 {file.sha256}."
    )
