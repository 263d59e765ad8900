"""Runs of a study in an object store, for machines that see no common folder: each has a copy of its own.

The store holds what a study's folder holds, by the same names: `runs/ID/NAME` and `scores.csv`. Whoever works
on a run fetches what the store has of it, and puts what is new after every epoch; whoever only looks fetches
what is small. There are no locks: if two machines do the same run, both put the same.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import filelock

from otoscribe.study.engine.object_store import ObjectStore
from otoscribe.study.engine.state import State, has_its_captions, lock_of, state_of

FILES = (
    *("settings.json", "vocabulary.json", "words.json", "model.safetensors", "last.safetensors", "log.csv"),
    *("done", "captions.csv", "score.json", "failed", "captioned"),
)
"""Of a run, in the order in which they are put and fetched: no mark is there before what it marks."""
SMALL = {"settings.json", "log.csv", "done", "captions.csv", "score.json", "failed", "captioned"}
"""Those that say all there is to know about a run without working on it."""
WEIGHTS = {"model.safetensors", "last.safetensors"}
"""Those of an epoch, which have the same size in all."""
CAPTIONS = {"captions.csv", "captioned"}
"""Those of a search."""
PASSING = {"last.safetensors", "failed"}
"""Those that go when a run goes on, or ends."""
AT_ONCE = 16
"""Runs that are fetched, or put, at the same time."""

Sizes = Mapping[str, int]
"""Bytes of a run's files, by their names."""


@dataclass(frozen=True)
class Results:
    """What all machines that work on a study have in common.

    Every method raises `RunError` if the store cannot be reached, or a file not be written.
    """

    store: ObjectStore

    def look(self, runs: Sequence[Path], captioned: str) -> None:
        """Fetch what is small of the runs that are further there than here.

        Args:
            runs: their folders.
            captioned: see `state_of`.
        """
        there = self._there()
        behind = [
            run for run in runs if SMALL.intersection(_lacking(run, captioned, there.get(run.name, {})))
        ]
        _for_all(behind, lambda run: self._fetch(run, captioned, there[run.name], SMALL))

    def fetch(self, run: Path, captioned: str) -> None:
        """Fetch all of a run that is further there than here, unless it has its captions.

        Args:
            run: its folder, whose lock is held.
            captioned: see `state_of`.
        """
        there = self._there(run.name).get(run.name, {})
        self._fetch(run, captioned, there, SMALL)
        if state_of(run, captioned) is not State.CAPTIONED:
            self._fetch(run, captioned, there, {*FILES})

    def put(self, run: Path) -> None:
        """Put what is new of a run, unless it is further there.

        Args:
            run: its folder, whose lock is held.
        """
        here, there = _sizes(run), self._there(run.name).get(run.name, {})
        if _reached(there) > _reached(here):
            return
        changed = {name for name in here if here[name] != there.get(name)} | {*CAPTIONS, "failed"}
        if "log.csv" in changed:
            changed |= WEIGHTS
        for name in FILES:
            if name in here and name in changed:
                self.store.put(run / name, f"runs/{run.name}/{name}")
        for name in PASSING & there.keys() - here.keys():
            self.store.delete(f"runs/{run.name}/{name}")

    def put_study(self, runs: Sequence[Path], scores: Path) -> None:
        """Put new scores, and what could not be put before.

        Args:
            runs: their folders.
            scores: the table of them; it need not be there.
        """
        there = self._there()
        _for_all([run for run in runs if _is_ahead(_sizes(run), there.get(run.name, {}))], self.put)
        if scores.is_file():
            self.store.put(scores, scores.name)

    def _there(self, run: str = "") -> dict[str, dict[str, int]]:
        """Return what the store has of one run, or of all, by run and name.

        Whatever else it lists is left out, and a run is only looked up: no name of a store becomes a path.
        """
        found: dict[str, dict[str, int]] = {}
        for path, size in self.store.sizes(f"runs/{run}".rstrip("/")).items():
            of, _, name = f"{run}/{path}".removeprefix("/").partition("/")
            if name in FILES:
                found.setdefault(of, {})[name] = size
        return found

    def _fetch(self, run: Path, captioned: str, there: Sizes, names: set[str]) -> None:
        lacking = _lacking(run, captioned, there)
        if _reached(there) > _reached(_sizes(run)):
            # They would pass for those of the epoch that is fetched.
            for name in (*WEIGHTS, "failed"):
                (run / name).unlink(missing_ok=True)
        for name in lacking:
            if name in names:
                self.store.get(f"runs/{run.name}/{name}", run / name)
        if "captioned" in lacking:
            has_its_captions(run)  # which two machines with other searches may have mixed


def _sizes(run: Path) -> Sizes:
    found = {}
    for name in FILES:
        with suppress(FileNotFoundError):  # now, as another process may delete it at any time
            found[name] = (run / name).stat().st_size
    return found


def _reached(sizes: Sizes) -> tuple[bool, int]:
    """Return what grows with every epoch of a run, and when it has ended."""
    return "done" in sizes, sizes.get("log.csv", 0)


def _lacking(run: Path, captioned: str, there: Sizes) -> list[str]:
    """Return which files are to be fetched, in their order, to have all that is there."""
    here = _sizes(run)
    if _reached(here) > _reached(there):
        return []
    needed = {*FILES} - CAPTIONS
    if _reached(here) == _reached(there):
        needed -= here.keys()
    if state_of(run, captioned) is not State.CAPTIONED:
        needed |= CAPTIONS
    return [name for name in FILES if name in there and name in needed]


def _is_ahead(here: Sizes, there: Sizes) -> bool:
    return any(here[name] != there.get(name) for name in SMALL & here.keys())


def _for_all(runs: Iterable[Path], do: Callable[[Path], None]) -> None:
    """Do something to runs, several at once, except to those that another process works on."""

    def locked(run: Path) -> None:
        with suppress(filelock.Timeout), lock_of(run).acquire(timeout=0):
            do(run)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(locked, runs):
            pass
