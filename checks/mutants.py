"""Deliberate faults, each put into a copy of the project, and the test that must fail because of it.

    python -m checks.mutants            every fault of mutants.toml
    python -m checks.mutants decoder    those whose file or description holds the word

A test that passes with the fault in place proves nothing. Ends with 1 unless every fault is killed, that is:
its text stands in its file exactly once, its test passes on the code as it is, and fails with the fault.
"""

import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from checks.material import DATA

PROJECT = Path(__file__).resolve().parents[1]
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "runs", "dist", "build")
TOGETHER = 2
"""Faults tried at a time."""
SECONDS = 120
"""After which a test is stopped: a fault that makes it hang wants a better test."""
OPTIONS = (
    *("-p", "no:cacheprovider", "--hypothesis-profile=unshrunk"),
    *("--no-header", "--tb=short", "--show-capture=no"),
)

FAILED = 1
"""Of pytest: tests ran, and one failed. It has other codes for tests that could not be collected or found."""

# Processes branch off from one that has these loaded, which takes longer than most tests.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["h5py", "numpy", "onnxruntime", "torch", "torch.distributed.tensor"])


@dataclass(frozen=True)
class Mutant:
    """One fault."""

    number: int
    """Its place in the table, from 1."""
    file: str
    """Inside the package."""
    breaks: str
    """What is wrong then."""
    old: str
    """Text of the file."""
    new: str
    """What stands there instead."""
    test: str
    """The test that must fail, as pytest names it, all its cases together."""

    def __str__(self) -> str:
        return f"{self.file}: {self.breaks}"


def table() -> list[Mutant]:
    """Read mutants.toml, whose every key is a file and holds that file's faults."""
    files = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    faults = [(file, fault) for file, faults in files.items() for fault in faults]
    return [Mutant(number, file, **fault) for number, (file, fault) in enumerate(faults, start=1)]


def passing(project: Path, tests: Sequence[str]) -> set[str]:
    """Return those of `tests` that pass on the code as it is: a case or more, and none fails."""
    there = [test for test in tests if _is_there(project, test)]
    command = [sys.executable, "-m", "pytest", *OPTIONS, "-rpfE", *there]
    environment = {**os.environ, "PYTHONPATH": str(project / "src")}
    report = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True).stdout
    outcomes: dict[str, set[str]] = {}
    for line in report.splitlines():
        outcome, _, rest = line.partition(" ")
        if outcome in ("PASSED", "FAILED", "ERROR"):
            outcomes.setdefault(rest.partition(" - ")[0].partition("[")[0], set()).add(outcome)
    passed = {test for test in there if outcomes.get(test) == {"PASSED"}}
    if len(passed) < len(there):
        print("\n".join(line for line in report.splitlines() if not line.startswith("PASSED")))
    return passed


def _is_there(project: Path, test: str) -> bool:
    """Say whether there is such a test; pytest would run none at all if one is missing."""
    file, _, name = test.partition("::")
    path = project / file
    return path.is_file() and f"\ndef {name}(" in path.read_text(encoding="utf-8")


@contextmanager
def mutated(project: Path, mutant: Mutant) -> Iterator[None]:
    """Put a fault into a copy for a while."""
    path = project / "src" / "otoscribe" / mutant.file
    text, status = path.read_text(encoding="utf-8"), path.stat()
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    # By second and size Python tells whether it compiled a file before: no two faults share a second.
    os.utime(path, (mutant.number, mutant.number))
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def run(project: Path, test: str, log: Path) -> None:
    """Run one test of a copy, and end the process with pytest's exit code."""
    import pytest

    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(project)
    os.environ["PYTHONPATH"] = str(project / "src")
    sys.path.insert(0, os.environ["PYTHONPATH"])
    sys.exit(pytest.main([*OPTIONS, "-x", test]))


def fate(project: Path, mutant: Mutant) -> str:
    """Say what becomes of a fault whose test passes without it."""
    path, log = project / "src" / "otoscribe" / mutant.file, project / "log.txt"
    times = path.read_text(encoding="utf-8").count(mutant.old) if path.is_file() else 0
    if times != 1:
        return f"stale: its text stands in the file {times} times"
    with mutated(project, mutant):
        process = processes.Process(target=run, args=(project, mutant.test, log))
        process.start()
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
            return f"hangs: no result after {SECONDS} s"
    if process.exitcode == FAILED:
        return "killed"
    return "survived" if process.exitcode == 0 else f"untestable: {log.read_text(encoding='utf-8')}"


def fates(mutants: Sequence[Mutant], folder: Path) -> Iterator[str]:
    """Try every fault, and yield what became of it, in order."""
    projects: SimpleQueue[Path] = SimpleQueue()
    for number in range(TOGETHER):
        project = folder / f"{number}" / PROJECT.name
        shutil.copytree(PROJECT, project, ignore=LEFT_OUT)
        projects.put(project)
    passed = passing(project, sorted({mutant.test for mutant in mutants}))

    def tried(mutant: Mutant) -> str:
        if mutant.test not in passed:
            return "unproved: its test is missing, skipped, or fails without it"
        project = projects.get()
        try:
            return fate(project, mutant)
        finally:
            projects.put(project)

    with ThreadPoolExecutor(TOGETHER) as pool:
        yield from pool.map(tried, mutants)


def main(words: Sequence[str]) -> int:
    """Try the faults, print what became of each, and return the exit code."""
    mutants = [mutant for mutant in table() if all(word in str(mutant) for word in words)]
    if not mutants:
        sys.exit(f"No fault of mutants.toml holds {' and '.join(words)}.")
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"OTOSCRIBE_DATA": str(DATA), "OMP_NUM_THREADS": "1"}
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(folder) / "compiled")
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        for mutant, ended in zip(mutants, fates(mutants, Path(folder)), strict=True):
            kind = ended.partition(":")[0]
            counts[kind] += 1
            print(f"{kind:10} {mutant}", flush=True)
            if ended != "killed":
                print(f"           {mutant.test}\n           {ended}", flush=True)
    print(", ".join(f"{count} {kind}" for kind, count in counts.most_common()))
    return int(counts["killed"] < len(mutants))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
