"""Published files: fetched over HTTP, resumed where it was cut, and kept only if they are what was published.

Nothing here locks. Two processes that fetch one file write the same bytes at the same places of one `.part`
file, and whichever sees the published checksum first gives it its name.
"""

import contextlib
import hashlib
import io
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from otoscribe import files
from otoscribe.errors import DownloadError
from otoscribe.fetch.remote import UnreachableError, connect, read, size_of
from otoscribe.progress import Progress

CHECKSUM = re.compile("sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}|git:[0-9a-f]{40}")
"""How a checksum is written: some hosts show an MD5 (Zenodo), or the id of a Git blob, and no SHA-256."""


@dataclass(frozen=True)
class PublishedFile:
    """A file that somebody published, known by its checksum."""

    name: str
    """Where it is kept within a folder, with / between the parts."""
    urls: tuple[str, ...]
    """Its addresses, or those of the archive that holds it under `name`; the next is for when one fails."""
    bytes: int | None
    """Its size; None if nobody states it."""
    checksum: str | None
    """As `CHECKSUM` says; None if nobody states one, and then nothing but a stated size is compared."""

    def __post_init__(self) -> None:
        if not self.urls:
            raise ValueError(f"{self.name} has no address.")
        if self.checksum is not None and not CHECKSUM.fullmatch(self.checksum):
            raise ValueError(f"{self.name} has a checksum of an unknown kind: {self.checksum!r}.")

    def matches(self, content: io.BufferedIOBase) -> bool:
        """Tell whether some content, read from its beginning, is what was published."""
        if self.checksum is None:
            return self.bytes in (None, content.seek(0, os.SEEK_END))
        kind, _, digits = self.checksum.partition(":")

        def begun() -> Any:
            # No defence against forgers, where the publisher offers none: what the host shows is compared.
            if kind != "git":
                return hashlib.new(kind, usedforsecurity=False)
            return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)

        size = content.seek(0, os.SEEK_END)
        content.seek(0)
        return hashlib.file_digest(content, begun).hexdigest() == digits

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
            if not self.is_in(folder):
                return False
            with (folder / self.name).open("rb") as content:
                return self.matches(content)
        except OSError:
            return False


def part_of(target: Path) -> Path:
    """Return where a file grows while it is downloaded."""
    return target.with_name(target.name + ".part")


def download(file: PublishedFile, folder: Path, progress: Progress | None = None) -> None:
    """Fetch a file into a folder, unless it is there already.

    What an earlier, interrupted call left in `NAME.part` is not fetched again, where the server allows that.

    Raises:
        UnreachableError: none of its addresses can be reached.
        DownloadError: an address sends something else than what was published, or the folder cannot be
            written.
    """
    if file.is_whole_in(folder):
        return
    target = folder / file.name
    with connect() as session, _written(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        # Not by files.written_whole: an interrupted download must find its part again.
        path = part_of(target)
        with open(path, "rb+", opener=_made) as part:
            # From the first address that has the rest of it.
            first_of(partial(_fill, session, part, file, url, progress) for url in file.urls)
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
    with _written(target):
        with files.written_whole(target) as temporary:
            with temporary.open("wb") as copied:
                shutil.copyfileobj(content, copied)
            with temporary.open("rb") as written:
                if not file.matches(written):
                    raise _wrong(file, source)
        part_of(target).unlink(missing_ok=True)


def copy(file: PublishedFile, folder: Path, source: Path) -> None:
    """Copy a file into a folder from another, unless it is there already.

    Args:
        file: what to copy; in `source` it may also have the name that a browser gave it.
        folder: where it is kept.
        source: the folder that somebody put it into.

    Raises:
        DownloadError: the file is not in `source`, is not what was published, or cannot be read or written.
    """
    if not file.is_whole_in(folder):
        path = located(file, source)
        with _readable(path), path.open("rb") as content:
            keep(file, folder, content, str(path))


def located(file: PublishedFile, source: Path) -> Path:
    """Find a file in a folder that somebody put it into, also under the name that a browser gave it.

    Raises:
        DownloadError: the file is not in `source`, is not what was published, or cannot be read.
    """
    urls = (unquote(urlsplit(url).path) for url in file.urls)
    names = dict.fromkeys([file.name, *(path.rpartition("/")[2] for path in (file.name, *urls))])
    found = [source / name for name in names if (source / name).is_file()]
    if not found:
        raise DownloadError(f"{source} has no {' or '.join(names)}. Copy {file.urls[0]} there.")
    for path in found:
        with _readable(path), path.open("rb") as content:
            if file.matches(content):
                return path
    raise _wrong(file, str(source))


@contextlib.contextmanager
def or_by_hand(wanted: Iterable[PublishedFile], name: str) -> Iterator[None]:
    """Add to the error of an address that cannot be reached what to do on a machine without a network.

    Args:
        wanted: what to copy.
        name: what `otoscribe get` calls it.
    """
    try:
        yield
    except UnreachableError as error:
        urls = " and ".join(file.urls[0] for file in wanted)
        raise DownloadError(
            f"{error} Without a network: copy {urls} into a folder, and type: "
            f"otoscribe get {name} --from FOLDER"
        ) from error


def first_of(attempts: Iterable[Callable[[], None]]) -> None:
    """Make one attempt after the other, until one does not fail.

    Raises:
        UnreachableError: all failed, as addresses cannot be reached.
        DownloadError: all failed, for other reasons as well.
    """
    failures: list[str] = []
    kind: type[DownloadError] = UnreachableError
    for attempt in attempts:
        try:
            attempt()
            return
        except DownloadError as error:
            failures.append(str(error))
            kind = kind if isinstance(error, UnreachableError) else DownloadError
    raise kind(" ".join(dict.fromkeys(failures)))


def _fill(
    session: Any, part: io.BufferedRandom, file: PublishedFile, url: str, progress: Progress | None
) -> None:
    """Bring a part to its end."""
    size = size_of(session, url) if file.bytes is None else file.bytes
    start = part.seek(0, os.SEEK_END)
    while not _completed(part, file, size, read(session, url, start, size), progress):
        part.truncate(0)
        if start == 0:
            raise _wrong(file, url)
        start = part.seek(0)  # the part was of something else


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
    return file.matches(part)


def _made(path: str, flags: int) -> int:
    """Open a file, made if there is none, without a moment in between."""
    return os.open(path, flags | os.O_CREAT, 0o666)


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DownloadError(f"{path} cannot be written: {_reason(error)}.") from error


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DownloadError(f"{path} cannot be read: {_reason(error)}.") from error


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _wrong(file: PublishedFile, source: str) -> DownloadError:
    other = f"size is not {file.bytes}" if file.checksum is None else f"checksum is not {file.checksum}"
    return DownloadError(f"{file.name} from {source} is not what was published: its {other}.")
