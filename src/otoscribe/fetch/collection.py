"""Tables and archives that belong together: the tables are kept as they are, the archives are unpacked."""

from dataclasses import dataclass
from pathlib import Path

from otoscribe.errors import UsageError
from otoscribe.fetch.archives import is_unpacked, require_reader, unpack
from otoscribe.fetch.assets import State
from otoscribe.fetch.published import PublishedFile, copy, download, located, or_by_hand, part_of
from otoscribe.progress import Progress


@dataclass(frozen=True)
class Archive:
    """A published archive."""

    file: PublishedFile
    folder: str
    """Where its members go, within the collection's folder; for this archive alone."""

    @property
    def checksum(self) -> str:
        """Of the archive, which tells afterwards what was unpacked."""
        assert self.file.checksum is not None, f"{self.file.name} is published without a checksum"
        return self.file.checksum


@dataclass(frozen=True)
class Collection:
    """An asset of tables and archives, see `assets.Asset`. An archive is deleted once it is unpacked."""

    name: str
    purpose: str
    licence: str
    folder: Path
    tables: tuple[PublishedFile, ...]
    archives: tuple[Archive, ...]

    @property
    def bytes(self) -> int:
        """How many are fetched, as far as they are known."""
        return sum(file.bytes or 0 for file in self._files())

    def state(self) -> State:
        """Return how much of it is here; of what was unpacked, compares the sizes only."""
        whole = [file.is_whole_in(self.folder) for file in self.tables]
        whole += [self._is_unpacked(archive) for archive in self.archives]
        if all(whole):
            return State.WHOLE
        there = self.folder.is_dir() and any(path.is_file() for path in self.folder.rglob("*"))
        return State.PARTIAL if there else State.MISSING

    def install(self, progress: Progress | None = None) -> None:
        """Fetch what is missing; see `Asset.install`."""
        with or_by_hand(self._files(), self.name):
            for file in self.tables:
                download(file, self.folder, progress)
            for archive in self.archives:
                if not self._is_unpacked(archive):
                    require_reader(archive.file.name)
                    download(archive.file, self.folder, progress)
                    path = self.folder / archive.file.name
                    self._unpack(archive, path, progress)
                    path.unlink()

    def install_from(self, source: Path) -> None:
        """Copy tables and unpack archives from a folder; see `Asset.install_from`."""
        if not source.is_dir():
            names = " and ".join(file.name for file in self._files())
            raise UsageError(f"There is no folder {source}. Give --from one that holds {names}.")
        for file in self.tables:
            copy(file, self.folder, source)
        for archive in self.archives:
            if not self._is_unpacked(archive):
                self._unpack(archive, located(archive.file, source), None)
                part_of(self.folder / archive.file.name).unlink(missing_ok=True)

    def _files(self) -> list[PublishedFile]:
        return [*self.tables, *(archive.file for archive in self.archives)]

    def _is_unpacked(self, archive: Archive) -> bool:
        return is_unpacked(self.folder / archive.folder, archive.checksum)

    def _unpack(self, archive: Archive, path: Path, progress: Progress | None) -> None:
        unpack(path, self.folder / archive.folder, archive.checksum, progress)
