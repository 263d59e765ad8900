"""Data sets of captioned recordings, by name and split: `clotho:development`, `my_module:MyDataset:train`.

One file is one data set. At its top, a `DatasetSpec` says where it comes from and under which licence.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from otoscribe import files
from otoscribe.datasets.folder import CaptionedClip, Listed, read_listed
from otoscribe.errors import TableError, UsageError, unknown_name
from otoscribe.fetch.collection import Archive, Collection
from otoscribe.fetch.published import PublishedFile
from otoscribe.registry import Registry, guarded


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """Where a data set comes from and what it holds."""

    name: str
    citation: str = "not stated"
    licence: str = "not stated"
    """As its publisher states it, of captions and recordings."""
    homepage: str = "not stated"
    recordings: Mapping[str, int | None]
    """How many each split has, as published; None if nobody states it."""
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

    def origins(self, split: str) -> dict[str, str]:
        """Return the Freesound id of the recordings that have one, by the names that `listed` gives.

        Raises:
            TableError: a table is not there or cannot be read.
        """
        return {}

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
OWN = re.compile(r"[\w.]+:\w+")
"""MODULE:CLASS, how a data set in somebody's own file is named."""


@dataclass(frozen=True)
class NamedSplit:
    """One split of a data set, whose code may be anybody's."""

    source: str
    """The data set's name, as it was typed."""
    dataset: Dataset
    split: str

    @property
    def name(self) -> str:
        """NAME:SPLIT."""
        return f"{self.source}:{self.split}"

    @property
    def published(self) -> int | None:
        """How many recordings it has, as published."""
        return self.dataset.spec.recordings[self.split]

    def listed(self) -> Listed:
        """Return its recordings and their captions.

        Raises:
            TableError: a table is not there or cannot be read.
            UsageError: the data set's code failed, or gives something else.
        """
        found = guarded("data set", self.name, lambda: self.dataset.listed(self.split))
        if not _is_listing(found):
            raise UsageError(
                f"The data set {self.name!r} must give a Listed: table and folder, each a Path, and a dict "
                f"with a tuple of captions for the name of each recording."
            )
        return found

    def origins(self) -> dict[str, str]:
        """Return its recordings' Freesound ids, as far as there are.

        Raises:
            TableError: a table is not there or cannot be read.
            UsageError: the data set's code failed.
        """
        return guarded("data set", self.name, lambda: self.dataset.origins(self.split))


def named_splits(source: Path) -> list[NamedSplit]:
    """Return what is meant by NAME:SPLIT, or by NAME, all its splits; none if the source is a path.

    Raises:
        UsageError: there is no such data set or split.
    """
    whole = str(source)
    name, _, split = whole.rpartition(":")
    if source.exists() or not (_is_name(name) or _is_name(whole)):
        return []
    if not _is_name(name):
        dataset = DATASETS.build(whole)
        return [NamedSplit(whole, dataset, split) for split in dataset.spec.recordings]
    dataset = DATASETS.build(name)
    if split not in dataset.spec.recordings:
        raise unknown_name(f"split of {name}", split, dataset.spec.recordings)
    return [NamedSplit(name, dataset, split)]


def read_source(source: Path) -> Listed:
    """Read what a source lists.

    Args:
        source: a table or a folder with one, see `folder.read_listed`; or NAME:SPLIT of a data set.

    Raises:
        TableError: the table is not there or cannot be read.
        UsageError: there is no such data set or split, or it is not said which of several.
    """
    splits = named_splits(source)
    if len(splits) > 1:
        names = ", ".join(split.name for split in splits)
        raise UsageError(f"{source} is a data set. Name one of its splits: {names}.")
    return splits[0].listed() if splits else read_listed(source)


def read_clips(source: Path, skip_missing: bool = False) -> list[CaptionedClip]:
    """Read recordings and captions.

    Args:
        source: as for `read_source`.
        skip_missing: go on without recordings that are not there, with a `TableWarning` that counts them.

    Raises:
        TableError: as `Listed.clips`, or the table is not there or cannot be read.
        UsageError: as `read_source`.
    """
    return read_source(source).clips(skip_missing)


def _is_name(text: str) -> bool:
    return text in DATASETS or bool(OWN.fullmatch(text))


def _is_listing(found: object) -> bool:
    """Tell whether a data set gave what it has to: of others' code, nothing is sure."""
    return (
        isinstance(found, Listed)
        and all(isinstance(path, Path) for path in (found.table, found.folder))
        and isinstance(found.captions, dict)
        and all(
            isinstance(name, str)
            and isinstance(texts, tuple | list)
            and all(isinstance(text, str) for text in texts)
            for name, texts in found.captions.items()
        )
    )
