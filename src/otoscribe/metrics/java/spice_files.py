"""The files of CoreNLP that SPICE parses with: 16 MB out of 385, installed once into the cache folder.

Of the models, SPICE's pipeline (`spice_worker.py`) reads eight; they are members of an archive of 378 MB and
are read out of it by range requests. Every file is known by its size and SHA-256.
"""

import contextlib
import hashlib
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, ClassVar

from otoscribe import files
from otoscribe.errors import DownloadError, MetricError, UsageError
from otoscribe.fetch.assets import State, state_in
from otoscribe.fetch.published import PublishedFile, download, keep, or_by_hand, part_of
from otoscribe.fetch.remote import BLOCK, RangesRefusedError, RemoteFile
from otoscribe.progress import Progress

MAVEN = "https://repo1.maven.org/maven2/edu/stanford/nlp/stanford-corenlp/3.6.0"
INSTALL = "otoscribe get spice"
"""What to type if a file is missing."""

CORENLP = PublishedFile(
    "stanford-corenlp-3.6.0.jar",
    (f"{MAVEN}/stanford-corenlp-3.6.0.jar",),
    7270741,
    "sha256:d341d5863276f55782c5ef73212222d6b3b48e02ae1951ab6de7618d28b12742",
)
MODELS = PublishedFile(
    "stanford-corenlp-3.6.0-models.jar",
    (f"{MAVEN}/stanford-corenlp-3.6.0-models.jar",),
    378116526,
    "sha256:d285157bd7887ee3018094b5dbae092e49088b023361ccdb550ee1daf9b2c9bd",
)
MEMBERS = tuple(
    PublishedFile(f"edu/stanford/nlp/models/{name}", MODELS.urls, size, f"sha256:{sha256}")
    for name, size, sha256 in (
        (
            "lexparser/englishPCFG.ser.gz",
            1883795,
            "ed674cce7311f76c018806e61cdb045e219258ee30014da4e3e686b9230ebea9",
        ),
        ("dcoref/demonyms.txt", 11222, "59d6f108e8d9d7511f386a76c8aacf1ae67a8a1d0635d91b82fdb27da15ac5f2"),
        (
            "dcoref/animate.unigrams.txt",
            312302,
            "f098d0dec513de3729b4274d16bb0cc35c4bf2b801219885ee3c7e7fbbf56374",
        ),
        (
            "dcoref/inanimate.unigrams.txt",
            678395,
            "3e4bcd3c30f80138bafb4c7995b358f84d698632246b552286cad629592b3754",
        ),
        ("dcoref/countries", 3940, "aca387cfc0033623bcdf6d0d876e850abcda0d88cdef58ea6dc6dccf7caaae87"),
        (
            "dcoref/statesandprovinces",
            1284,
            "00cd22f600bb20c7906e754322486968b8d76d8905b02e634a2142c8083d2484",
        ),
        (
            "dcoref/state-abbreviations.txt",
            932,
            "390bf299f876b557ecf7d383059b77957466b172e1c6d953b0479594d7424430",
        ),
        (
            "dcoref/gender.map.ser.gz",
            6505394,
            "5b186bd60d88cdf7cb6fda51ec6bcb24975d503e155283b1b1e49f30b393ae76",
        ),
    )
)
"""What SPICE's pipeline reads of the models; without any of them its first caption fails."""

OTHER_ARCHIVES = ("stanford-corenlp-3.6.0-models-spice.jar", "stanford-corenlp-full-2015-12-09.zip")
"""What else a folder may hold: the members packed anew, and Stanford NLP's zip with both jars."""


@dataclass(frozen=True)
class SpiceFiles:
    """SPICE's files in the cache folder, an `Asset`."""

    name: ClassVar[str] = "spice"
    purpose: ClassVar[str] = "metrics SPICE and SPIDEr: a parser"
    licence: ClassVar[str] = "GPL-3.0"

    corenlp: PublishedFile = CORENLP
    models: PublishedFile = MODELS
    members: tuple[PublishedFile, ...] = MEMBERS

    @property
    def folder(self) -> Path:
        """Where they are installed."""
        return files.cache_folder() / "spice"

    @property
    def wanted(self) -> tuple[PublishedFile, ...]:
        """Every file."""
        return (self.corenlp, *self.members)

    @property
    def bytes(self) -> int:
        """How many are fetched."""
        return sum(file.bytes or 0 for file in self.wanted)

    def state(self) -> State:
        """Return how much is installed."""
        return state_in(self.folder, (self.wanted,))

    @property
    def fingerprint(self) -> str:
        """Return 64 hexadecimal digits that change with any byte of any file."""
        digits = "".join(str(file.checksum).removeprefix("sha256:") for file in self.wanted)
        return hashlib.sha256(digits.encode("ascii")).hexdigest()

    def find(self) -> tuple[Path, ...]:
        """Return the class path: CoreNLP's jar, and the folder whose subfolders hold the models.

        Raises:
            MetricError: a file is missing or damaged.
        """
        # Read to the last byte, in 30 milliseconds: what a damaged file leads to would be kept for good.
        absent = [file.name for file in self.missing()]
        if len(absent) == len(self.wanted):
            raise MetricError(f"SPICE's files are not installed in {self.folder}. Type: {INSTALL}")
        if absent:
            raise MetricError(
                f"SPICE needs files that are not in {self.folder}, or damaged there: {', '.join(absent)}. "
                f"Type: {INSTALL}"
            )
        return (self.folder / self.corenlp.name, self.folder)

    def missing(self) -> list[PublishedFile]:
        """Return what is not installed, or not byte by byte as published."""
        return [file for file in self.wanted if not file.is_whole_in(self.folder)]

    def install(self, progress: Progress | None = None) -> None:
        """Fetch what is missing; an interrupted installation goes on where it was.

        Raises:
            DownloadError: something cannot be fetched or written, or is not what was published.
        """
        missing = self.missing()
        with or_by_hand((self.corenlp, self.models), self.name):
            if self.corenlp in missing:
                download(self.corenlp, self.folder, progress)
            members = [file for file in missing if file in self.members]
            if members:
                self._install_members(members, progress)
        self._tidy()

    def _install_members(self, members: list[PublishedFile], progress: Progress | None) -> None:
        url = self.models.urls[0]
        try:
            with (
                RemoteFile(url, self.models.bytes or 0) as remote,
                io.BufferedReader(remote, BLOCK) as buffered,
            ):
                self._unpack(buffered, url, members, progress)
        except RangesRefusedError:
            download(self.models, self.folder, progress)
            whole = self.folder / self.models.name
            with whole.open("rb") as opened:
                self._unpack(opened, str(whole), members, progress)

    def _unpack(
        self, jar: BinaryIO, source: str, members: list[PublishedFile], progress: Progress | None
    ) -> None:
        with _intact(source), zipfile.ZipFile(jar) as archive:
            places = {info.filename: info.header_offset for info in archive.infolist()}
            # In the order in which they lie in the archive, so that one request brings neighbours.
            for done, file in enumerate(sorted(members, key=lambda file: places.get(file.name, 0)), start=1):
                content = _member(archive, file)
                if content is None:
                    raise DownloadError(f"{source} has no {file.name} of {file.bytes} bytes.")
                keep(file, self.folder, io.BytesIO(content), source)
                if progress:
                    progress(self.models.name, done, len(members))

    def _tidy(self) -> None:
        """Remove the models that are not needed any more, whole or in part."""
        for path in (self.folder / self.models.name, part_of(self.folder / self.models.name)):
            with contextlib.suppress(OSError):
                path.unlink()

    def install_from(self, source: Path) -> None:
        """Copy what is missing from this machine, without any network.

        Args:
            source: A folder or one of its archives. The folder has the two jars as published, or the members
                packed or unpacked in the place of the second, or Stanford NLP's zip.

        Raises:
            UsageError: there is no such folder or file.
            DownloadError: something is neither installed nor there, or cannot be written.
        """
        if not source.exists():
            raise UsageError(f"{source} does not exist. Give --from a folder with {self.corenlp.name}.")
        missing = self.missing()
        if not missing:
            return
        try:
            for read in _places(source, (self.models.name, *OTHER_ARCHIVES)):
                for file in list(missing):
                    content = read(file)
                    # What differs here may be found as published in the next place.
                    if content is not None and file.matches(io.BytesIO(content)):
                        keep(file, self.folder, io.BytesIO(content), str(source))
                        missing.remove(file)
                if not missing:
                    self._tidy()
                    return
        except OSError as error:
            raise DownloadError(f"{source} cannot be read: {error}.") from error
        names = ", ".join(file.name for file in missing)
        addresses = " and ".join(dict.fromkeys(file.urls[0] for file in missing))
        raise DownloadError(f"{source} lacks, or has damaged: {names}. Copy {addresses} there.")


Read = Callable[[PublishedFile], bytes | None]


def _places(source: Path, archives: Collection[str]) -> Iterator[Read]:
    """Yield a way to read each place where files may be: a folder, its archives, archives inside those."""
    folder = source if source.is_dir() else source.parent
    yield lambda file: (folder / file.name).read_bytes() if file.is_in(folder) else None
    named = [folder / name for name in archives]
    for path in dict.fromkeys([*([] if source.is_dir() else [source]), *filter(Path.is_file, named)]):
        with _intact(str(path)), zipfile.ZipFile(path) as archive:
            yield partial(_member, archive)
            for info in archive.infolist():
                if info.filename.rpartition("/")[2] in archives:
                    with archive.open(info) as inner, zipfile.ZipFile(inner) as inner_archive:
                        yield partial(_member, inner_archive)


def _member(archive: zipfile.ZipFile, file: PublishedFile) -> bytes | None:
    """Return a file out of an archive, wherever in it; no name that an archive gives is ever written to."""
    for info in archive.infolist():
        if f"/{info.filename}".endswith(f"/{file.name}") and info.file_size == file.bytes:
            with _intact(str(archive.filename or file.urls[0])), archive.open(info) as member:
                return member.read(file.bytes)
    return None


@contextlib.contextmanager
def _intact(name: str) -> Iterator[None]:
    """Turn whatever a damaged archive raises into a sentence."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError) as error:
        raise DownloadError(f"{name} cannot be read as an archive: {error}.") from error
    except (NotImplementedError, RuntimeError) as error:  # an unknown compression, a password
        raise DownloadError(f"{name} is not packed as published: {error}.") from error
