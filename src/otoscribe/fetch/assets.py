"""What `otoscribe get` gets: published files that belong together, kept in one folder."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Protocol

from otoscribe.errors import UsageError
from otoscribe.fetch.published import PublishedFile, copy, download, first_of, or_by_hand
from otoscribe.progress import Progress

Ways = tuple[tuple[PublishedFile, ...], ...]
"""Each entry is one way to have something: all files that it needs."""


FOR_TRAINING = {"encoders": "training: the encoder's weights", "words": "training: the words' vectors"}
"""The purpose of what training needs, by its folder in the cache."""


class State(StrEnum):
    """How much of an asset is here."""

    WHOLE = "whole"
    PARTIAL = "partial"
    """Something is, but not all of it, or not as published."""
    MISSING = "missing"


class Asset(Protocol):
    """Something to get, by one name."""

    @property
    def name(self) -> str:
        """What is typed after `otoscribe get`."""

    @property
    def purpose(self) -> str:
        """What needs it, in a few words."""

    @property
    def licence(self) -> str:
        """As its publisher states it."""

    @property
    def bytes(self) -> int | None:
        """How many are fetched, about; None if nobody states it."""

    @property
    def folder(self) -> Path:
        """Where it is kept."""

    def state(self) -> State:
        """Return how much of it is here; reads every byte."""

    def install(self, progress: Progress | None = None) -> None:
        """Fetch what is missing; what was interrupted goes on where it was.

        Raises:
            DownloadError: something cannot be fetched or written, or is not what was published.
        """

    def install_from(self, source: Path) -> None:
        """Copy what is missing from a folder, without a network.

        Raises:
            UsageError: there is no such folder.
            DownloadError: something is neither installed nor there, or cannot be written.
        """


@dataclass(frozen=True)
class FileSet:
    """An asset that is as many files as were published."""

    name: str
    purpose: str
    licence: str
    bytes: int | None
    folder: Path
    ways: Ways
    """The first is preferred."""

    def state(self) -> State:
        """Return how much of it is here; reads every byte."""
        return state_in(self.folder, self.ways)

    def install(self, progress: Progress | None = None) -> None:
        """Fetch one way to have it, unless one is here; see `Asset.install`."""
        with or_by_hand(self.ways[0], self.name):
            self._one_way(lambda file: download(file, self.folder, progress))

    def install_from(self, source: Path) -> None:
        """Copy one way to have it, unless one is here; see `Asset.install_from`."""
        if not source.is_dir():
            raise UsageError(
                f"There is no folder {source}. Give --from one that holds {self.ways[0][0].name}."
            )
        self._one_way(lambda file: copy(file, self.folder, source))

    def _one_way(self, bring: Callable[[PublishedFile], None]) -> None:
        def have(way: tuple[PublishedFile, ...]) -> None:
            for file in way:
                bring(file)

        # What is here comes first, so that nothing is fetched beside it.
        ordered = sorted(self.ways, key=lambda way: not all(file.is_in(self.folder) for file in way))
        first_of(partial(have, way) for way in ordered)


def state_in(folder: Path, ways: Ways) -> State:
    """Return how much a folder has of something, which it is for alone."""
    if any(all(file.is_whole_in(folder) for file in way) for way in ways):
        return State.WHOLE
    there = any(path.is_file() and path.stat().st_size for path in folder.rglob("*"))
    return State.PARTIAL if there else State.MISSING
