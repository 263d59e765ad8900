"""Published files: fetched over HTTP, resumed where it was cut, and kept only if they are what was published.

Nothing here locks. Two processes that fetch one file write the same bytes at the same places of one `.part`
file, and whichever sees the published checksum first gives it its name.
"""

import contextlib
import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from otoscribe import files
from otoscribe.errors import DownloadError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 1 << 14
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
    bytes: int | None
    """Its size; None if nobody states it."""
    sha256: str
    """64 hexadecimal digits."""

    def is_in(self, folder: Path) -> bool:
        """Tell whether the folder has it; compares the size only, which finds files that were cut."""
        path = folder / self.name
        try:
            return path.is_file() and self.bytes in (None, path.stat().st_size)
        except OSError:
            return False

    def is_whole_in(self, folder: Path) -> bool:
        """Tell whether the folder has it, every byte as published."""
        try:
            return self.is_in(folder) and files.sha256(folder / self.name) == self.sha256
        except OSError:
            return False


class UnreachableError(DownloadError):
    """The address does not answer, or not with the file."""


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
        with open(path, "rb+", opener=_made) as part, _session() as session:
            size = _size(session, file.url) if file.bytes is None else file.bytes
            start = part.seek(0, os.SEEK_END)
            while not _completed(part, file, size, _read(session, file.url, start, size), progress):
                part.truncate(0)
                if start == 0:
                    raise _wrong(file, file.url)
                start = part.seek(0)  # the part was of something else
            written = os.fstat(part.fileno())
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(written, path.stat()):
                path.replace(target)
                return
        if not file.is_whole_in(folder):  # else another process was faster
            raise DownloadError(f"{path} was removed meanwhile. Repeat the command.")


def keep(file: PublishedFile, folder: Path, content: BinaryIO, source: str) -> None:
    """Write a file whose content came from elsewhere, say out of an archive, into a folder.

    Raises:
        DownloadError: the content, which came from `source`, is not what was published, or cannot be written.
    """
    target = folder / file.name
    with _written(target), files.written_whole(target) as temporary:
        with temporary.open("wb") as written:
            shutil.copyfileobj(content, written)
        if files.sha256(temporary) != file.sha256:
            raise _wrong(file, source)


def copy(file: PublishedFile, folder: Path, source: Path) -> None:
    """Copy a file into a folder from another, unless it is there already.

    Args:
        file: what to copy; in `source` it may also have the name that a browser gave it.
        folder: where it is kept.
        source: the folder that somebody put it into.

    Raises:
        DownloadError: the file is not in `source`, is not what was published, or cannot be read or written.
    """
    if file.is_whole_in(folder):
        return
    names = dict.fromkeys([file.name, file.url.rpartition("/")[2]])
    found = [source / name for name in names if (source / name).is_file()]
    if not found:
        raise DownloadError(f"{source} has no {' or '.join(names)}. Copy {file.url} there.")
    try:
        content = found[0].open("rb")
    except OSError as error:
        raise DownloadError(f"{found[0]} cannot be read: {_reason(error)}.") from error
    with content:
        keep(file, folder, content, str(source))


@contextlib.contextmanager
def or_by_hand(urls: Iterable[str], command: str) -> Iterator[None]:
    """Add to the error of an address that cannot be reached what to do on a machine without a network."""
    try:
        yield
    except UnreachableError as error:
        raise DownloadError(
            f"{error} Without a network: copy {' and '.join(urls)} into a folder, and type: "
            f"{command} --from FOLDER"
        ) from error


class RemoteFile(io.RawIOBase):
    """A file that is read where it lies, by range requests; buffer it by `BLOCK`.

    Reading raises RangesRefusedError if the server sends whole files only, and DownloadError if it does not
    answer.

    Args:
        url: its address.
        size: in bytes.
    """

    def __init__(self, url: str, size: int) -> None:
        self._url = url
        self._size = size
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
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fetch as many bytes as the buffer takes."""
        view = memoryview(buffer).cast("B")
        stop = min(self._at + len(view), self._size)
        content = b"".join(_read(self._session, self._url, self._at, stop, parts_only=True))
        view[: len(content)] = content
        self._at += len(content)
        return len(content)


def _made(path: str, flags: int) -> int:
    """Open a file, made if there is none, without a moment in between."""
    return os.open(path, flags | os.O_CREAT, 0o666)


def _completed(
    part: io.BufferedRandom,
    file: PublishedFile,
    size: int,
    chunks: Iterable[bytes],
    progress: Progress | None,
) -> bool:
    """Write the rest of a file, and tell whether all of it is what was published."""
    for chunk in chunks:
        part.write(chunk)
        if progress:
            progress(file.name, part.tell(), size)
    part.flush()
    os.fsync(part.fileno())
    part.seek(0)
    return hashlib.file_digest(part, "sha256").hexdigest() == file.sha256


def _session() -> Any:
    import requests

    return requests.Session()


def _ask(session: Any, url: str, start: int, stop: int) -> Any:
    """Ask for the bytes from `start` to `stop`; the answer is these or the whole file."""
    # Not packed on the way, or a part of what is sent would not be a part of the file.
    headers = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
    answer = session.get(url, headers=headers, stream=True, timeout=TIMEOUT)
    part = answer.headers.get("Content-Range", "")
    if answer.status_code != 200 and not (answer.status_code == 206 and part.startswith(f"bytes {start}-")):
        answer.close()
        raise UnreachableError(f"{url} answers {answer.status_code} {answer.reason}.")
    return answer


def _size(session: Any, url: str) -> int:
    import requests

    try:
        with _ask(session, url, 0, 1) as answer:
            part = answer.headers.get("Content-Range", "").rpartition("/")[2]
            return int(part or answer.headers.get("Content-Length", ""))
    except ValueError as error:
        raise UnreachableError(f"{url} does not say how large it is.") from error
    except requests.RequestException as error:
        raise _unreachable(url, error) from error


def _read(session: Any, url: str, start: int, stop: int, parts_only: bool = False) -> Iterator[bytes]:
    """Yield the bytes from `start` to `stop`; goes on after a cut, as long as each request brings some."""
    import requests

    at = start
    while at < stop:
        before, failure = at, None
        try:
            with _ask(session, url, at, stop) as answer:
                if answer.status_code == 200 and parts_only:
                    raise RangesRefusedError(f"The server of {url} sends whole files only.")
                repeated = at if answer.status_code == 200 else 0
                for received in answer.iter_content(CHUNK):
                    chunk = received[repeated : repeated + stop - at]
                    repeated -= min(repeated, len(received))
                    at += len(chunk)
                    yield chunk
                    if at == stop:
                        return
        except requests.RequestException as error:
            failure = error
        if at == before:
            raise _unreachable(url, failure) from failure


def _unreachable(url: str, failure: Exception | None) -> UnreachableError:
    import requests

    reason = "the connection ended too early"
    for kind, words in (
        (requests.Timeout, "the server does not answer in time"),
        (requests.exceptions.SSLError, "the server's certificate is not accepted"),
        (requests.exceptions.ProxyError, "the proxy refuses"),
        (requests.exceptions.ChunkedEncodingError, reason),
        (requests.ConnectionError, "there is no connection"),
        (requests.RequestException, str(failure)),
    ):
        if isinstance(failure, kind):
            reason = words
            break
    return UnreachableError(f"{url} cannot be fetched: {reason}.")


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DownloadError(f"{path} cannot be written: {_reason(error)}.") from error


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _wrong(file: PublishedFile, source: str) -> DownloadError:
    return DownloadError(
        f"{file.name} from {source} is not what was published: its SHA-256 is not {file.sha256}."
    )
