"""Bytes at an address: read in parts by range requests, asked for again where the connection was cut."""

import io
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from otoscribe.errors import DownloadError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 1 << 14
"""Bytes that are read at once."""
BLOCK = 1 << 18
"""Bytes that one request for a part of an archive asks for; members are often neighbours."""
TIMEOUT = (20.0, 60.0)
"""Seconds to connect, and seconds of silence."""


class UnreachableError(DownloadError):
    """The address does not answer, or not with the file."""


class RangesRefusedError(DownloadError):
    """The server sends whole files only."""


class RemoteFile(io.RawIOBase):
    """A file that is read where it lies, by range requests; buffer it by `BLOCK`.

    Reading raises RangesRefusedError if the server sends whole files only, and UnreachableError if it does
    not answer.

    Args:
        url: its address.
        size: in bytes.
    """

    def __init__(self, url: str, size: int) -> None:
        self._url = url
        self._size = size
        self._session = connect()
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
        content = b"".join(read(self._session, self._url, self._at, stop, parts_only=True))
        view[: len(content)] = content
        self._at += len(content)
        return len(content)


def connect() -> Any:
    """Return a connection for `size_of` and `read`, to be closed after use.

    Raises:
        UnreachableError: the environment says that there is no network (`OTOSCRIBE_OFFLINE`).
    """
    if os.environ.get("OTOSCRIBE_OFFLINE"):
        raise UnreachableError("Nothing is fetched, because OTOSCRIBE_OFFLINE is set.")
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


def size_of(session: Any, url: str) -> int:
    """Return how many bytes an address holds.

    Raises:
        UnreachableError: it does not answer, or does not say.
    """
    import requests

    try:
        with _ask(session, url, 0, 1) as answer:
            part = answer.headers.get("Content-Range", "").rpartition("/")[2]
            return int(part or answer.headers.get("Content-Length", ""))
    except ValueError as error:
        raise UnreachableError(f"{url} does not say how large it is.") from error
    except requests.RequestException as error:
        raise _unreachable(url, error) from error


def read(session: Any, url: str, start: int, stop: int, parts_only: bool = False) -> Iterator[bytes]:
    """Yield the bytes from `start` to `stop`; goes on after a cut, as long as each request brings some.

    Args:
        session: made by `connect`.
        url: the address.
        start: the first byte, counted from 0.
        stop: the byte after the last.
        parts_only: refuse a whole file, of which what comes before `start` would be thrown away.

    Raises:
        UnreachableError: it does not answer, or ends before `stop`.
        RangesRefusedError: the server sends whole files only, and these are refused.
    """
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
