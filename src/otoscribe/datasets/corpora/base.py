"""Published data sets of captioned recordings, by name and split: `clotho:development`.

One file is one data set. At its top, a `DatasetSpec` says where it comes from and under which licence.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from otoscribe import files
from otoscribe.datasets.folder import CaptionedClip, Listed, read_listed
from otoscribe.errors import TableError, unknown_name
from otoscribe.fetch.collection import Archive, Collection
from otoscribe.fetch.published import PublishedFile
from otoscribe.registry import Registry


@dataclass(frozen=True)
class DatasetSpec:
    """Where a data set comes from and what it holds."""

    name: str
    citation: str
    licence: str
    """As its publisher states it, of captions and recordings."""
    homepage: str
    recordings: Mapping[str, int]
    """How many each split has, as published."""
    tables: tuple[PublishedFile, ...] = ()
    archives: tuple[Archive, ...] = ()
    """Of recordings."""
    by_hand: str = ""
    """What `otoscribe get` cannot bring, and where to put it: a sentence."""


class Dataset(ABC):
    """Interface of every data set.

    Args:
        folder: that holds it; where `otoscribe get` puts it if None.
    """

    spec: ClassVar[DatasetSpec]

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = files.cache_folder() / "datasets" / self.spec.name if folder is None else folder

    @abstractmethod
    def listed(self, split: str) -> Listed:
        """Return the recordings of a split and their captions.

        Raises:
            TableError: a table is not there or cannot be read.
        """

    @abstractmethod
    def origins(self, split: str) -> dict[str, str]:
        """Return the Freesound id of the recordings that have one, by the names that `listed` gives.

        Raises:
            TableError: a table is not there or cannot be read.
        """

    def asset(self) -> Collection:
        """Return what `otoscribe get` gets."""
        spec = self.spec
        return Collection(
            spec.name, "training: a data set", spec.licence, self.folder, spec.tables, spec.archives
        )

    def table(self, name: str) -> Path:
        """Return the path of a table.

        Raises:
            TableError: it is not there.
        """
        path = self.folder / name
        if not path.is_file():
            get = f"Type: otoscribe get {self.spec.name}." if self.spec.tables else ""
            raise TableError(" ".join(filter(None, (f"There is no {path}.", get, self.spec.by_hand))))
        return path


DATASETS: Registry[Dataset] = Registry("data set", Dataset, __package__)


def named_split(source: Path) -> tuple[Dataset, str] | None:
    """Return the data set and the split that are meant by NAME:SPLIT; None if that is a path.

    Raises:
        UsageError: there is no such data set or split.
    """
    name, colon, split = str(source).rpartition(":")
    if not colon or source.exists() or (":" not in name and name not in DATASETS):
        return None
    dataset = DATASETS.build(name)
    if split not in dataset.spec.recordings:
        raise unknown_name(f"split of {name}", split, dataset.spec.recordings)
    return dataset, split


def read_source(source: Path) -> Listed:
    """Read what a source lists.

    Args:
        source: a table or a folder with one, see `folder.read_listed`; or NAME:SPLIT of a data set.

    Raises:
        TableError: the table is not there or cannot be read.
        UsageError: there is no such data set or split.
    """
    found = named_split(source)
    return found[0].listed(found[1]) if found else read_listed(source)


def read_clips(source: Path, skip_missing: bool = False) -> list[CaptionedClip]:
    """Read recordings and captions.

    Args:
        source: as for `read_source`.
        skip_missing: go on without recordings that are not there, with a `TableWarning` that counts them.

    Raises:
        TableError: as `Listed.clips`, or the table is not there or cannot be read.
        UsageError: there is no such data set or split.
    """
    return read_source(source).clips(skip_missing)
