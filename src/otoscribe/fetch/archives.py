"""Archives → their members as files of one folder: zip by the standard library, 7z by py7zr.

Members go by their own names alone, whatever folders the archive has them in: none can leave the target.
"""

import io
import json
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from otoscribe.errors import DownloadError
from otoscribe.files import write_text, written_whole
from otoscribe.progress import Progress

LIST = "unpacked.json"
"""Name of the file that says what an archive held, written when all of it is there."""


class Member(NamedTuple):
    """A file of an archive."""

    name: str
    """Without folders."""
    bytes: int
    checksum: int
    """CRC-32."""

    def has_size_in(self, folder: Path) -> bool:
        """Tell whether a folder has it; compares the size only, which finds files that were cut."""
        path = folder / self.name
        return path.is_file() and path.stat().st_size == self.bytes

    def is_whole_in(self, folder: Path) -> bool:
        """Tell whether a folder has it, every byte."""
        return self.has_size_in(folder) and _checksum(folder / self.name) == self.checksum


def is_unpacked(folder: Path, archive: str) -> bool:
    """Tell whether a folder has all members of an archive, which may itself be gone by then.

    Args:
        folder: where it was unpacked.
        archive: its checksum.
    """
    try:
        held = json.loads((folder / LIST).read_text(encoding="utf-8"))
        members = [Member(*member) for member in held["members"]]
        return held["archive"] == archive and all(member.has_size_in(folder) for member in members)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def require_reader(name: str) -> None:
    """Find out before a download of gigabytes whether such an archive can be read.

    Raises:
        ModuleNotFoundError: it is a .7z, and py7zr is not installed.
    """
    if name.endswith(".7z"):
        import py7zr  # noqa: F401


def unpack(path: Path, folder: Path, archive: str, progress: Progress | None = None) -> None:
    """Write all members of an archive into a folder, but for those that are there and whole.

    Each is written whole or not at all, so an interrupted call is simply repeated.

    Args:
        path: a .zip or .7z.
        folder: which is for this archive alone.
        archive: its checksum, which `is_unpacked` asks for.
        progress: called for every member.

    Raises:
        DownloadError: it is no such archive or damaged, has two members of one name or one that is no name of
            a file, or the folder cannot be written.
        ModuleNotFoundError: it is a .7z, and py7zr is not installed.
    """
    try:
        write = _write_7z if path.suffix == ".7z" else _write_zip
        members = write(path, folder, progress)
        for left in folder.glob(".*"):  # by a process that was killed
            if left.name not in {member.name for member in members}:
                left.unlink()
        held = {"archive": archive, "members": sorted(members)}
        write_text(folder / LIST, json.dumps(held) + "\n")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DownloadError(f"{path} cannot be unpacked in {folder}: {reason}.") from error
    except (DownloadError, ModuleNotFoundError):
        raise
    except Exception as error:  # whatever its bytes make a reader of archives stumble over
        reason = f"{type(error).__name__} {error}".strip()
        raise DownloadError(f"{path} is no archive, or damaged: {reason}. Delete it.") from error


def _write_zip(path: Path, folder: Path, progress: Progress | None) -> list[Member]:
    with zipfile.ZipFile(path) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        names = _names(path, [info.filename for info in infos])
        members = [Member(name, info.file_size, info.CRC) for name, info in zip(names, infos, strict=True)]
        for done, (member, info) in enumerate(zip(members, infos, strict=True), 1):
            if not member.is_whole_in(folder):
                with archive.open(info) as content, _Written(member, folder) as written:
                    while chunk := content.read(1 << 20):
                        written.write(chunk)
            if progress:
                progress(f"unpacking {path.name}", done, len(members))
        return members


def _write_7z(path: Path, folder: Path, progress: Progress | None) -> list[Member]:
    import py7zr

    with py7zr.SevenZipFile(path) as archive:
        infos = [info for info in archive.list() if not info.is_directory]
        names = _names(path, [info.filename for info in infos])
        members = [
            Member(name, info.uncompressed, info.crc32 or 0) for name, info in zip(names, infos, strict=True)
        ]
        wanted = {
            info.filename: member
            for info, member in zip(infos, members, strict=True)
            if not member.is_whole_in(folder)
        }
        begun: list[_Written] = []
        try:
            if wanted:
                factory = _factory(path, wanted, folder, begun, progress)
                archive.extract(targets=list(wanted), factory=factory)
        finally:
            for written in begun:
                written.abandon()
        return members


def _factory(
    path: Path, wanted: Mapping[str, Member], folder: Path, begun: list["_Written"], progress: Progress | None
) -> Any:
    """Return what py7zr asks for something to write each member to; what it did not finish is in `begun`.

    By its shape it is a `py7zr.io.WriterFactory`, and what it makes a `py7zr.io.Py7zIO`.
    """
    by_name = {member.name: member for member in wanted.values()}
    done = 0

    class Place:
        def __init__(self, member: Member) -> None:
            self.file = _Written(member, folder).__enter__()
            begun.append(self.file)

        def write(self, chunk: bytes | bytearray) -> int:
            return self.file.write(chunk)

        def read(self, size: int | None = None) -> bytes:
            raise io.UnsupportedOperation("read")

        def seek(self, offset: int, whence: int = 0) -> int:
            return offset

        def flush(self) -> None:
            pass

        def size(self) -> int:
            return self.file.bytes

        def close(self) -> None:
            nonlocal done
            if self.file in begun:
                begun.remove(self.file)
                self.file.__exit__(None, None, None)
                done += 1
                if progress:
                    progress(f"unpacking {path.name}", done, len(wanted))

    class Factory:
        def create(self, filename: str) -> Place:
            return Place(by_name[_own_name(filename)])

    return Factory()


class _Written:
    """A member that is being written, whole or not at all."""

    def __init__(self, member: Member, folder: Path) -> None:
        self._member, self._folder = member, folder
        self.bytes, self._checksum = 0, 0

    def __enter__(self) -> "_Written":
        self._stack = ExitStack()
        temporary = self._stack.enter_context(written_whole(self._folder / self._member.name))
        self._file = self._stack.enter_context(temporary.open("wb"))
        self._stack.push(self._check)
        return self

    def write(self, chunk: bytes | bytearray) -> int:
        self.bytes += len(chunk)
        self._checksum = zlib.crc32(chunk, self._checksum)
        return self._file.write(chunk)

    def __exit__(self, *raised: Any) -> None:
        self._stack.__exit__(*raised)

    def abandon(self) -> None:
        """Remove what was written."""
        self._stack.__exit__(DownloadError, DownloadError(), None)

    def _check(self, kind: object, *_: object) -> None:
        if kind is None and (self.bytes, self._checksum) != self._member[1:]:
            raise DownloadError(f"{self._member.name} is damaged in its archive.")


def _names(path: Path, names: list[str]) -> list[str]:
    """Return the names of members without folders."""
    own = list(map(_own_name, names))
    times = Counter(own)
    for name in own:
        if name in ("", ".", "..", LIST) or "\0" in name or times[name] > 1:
            raise DownloadError(
                f"{path} has a member that cannot be unpacked: {name!r}, or two of that name."
            )
    return own


def _own_name(name: str) -> str:
    return re.split(r"[/\\]", name)[-1]


def _checksum(path: Path) -> int:
    found = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            found = zlib.crc32(chunk, found)
    return found
