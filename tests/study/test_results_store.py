"""Machines without a common folder do one study through an object store, here a folder or memory."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem
from fsspec.registry import _registry, known_implementations
from typer.testing import CliRunner

from otoscribe.cli.main import app
from otoscribe.errors import RunError
from otoscribe.study.engine import work
from otoscribe.study.engine.object_store import ObjectStore
from otoscribe.study.engine.opened import Where, open_study
from otoscribe.study.engine.results import FILES, SMALL, Results
from otoscribe.study.engine.runner import run_study
from otoscribe.study.engine.scoring import SCORES, score_study
from otoscribe.study.engine.settings import read_study
from otoscribe.study.engine.state import State, state_of
from otoscribe.train import trainer
from support.tiny_study import STUDY, write_study

SHORT = STUDY.replace("seeds = 2", "seeds = 1").replace("[0.0, 0.5]", "[0.5]")
"""Of two runs."""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return what makes another folder with the study the current one; memory is empty before and after."""

    def enter(name: str) -> Path:
        folder = tmp_path / name
        if not folder.exists():
            write_study(folder, SHORT)
        monkeypatch.chdir(folder)
        return folder

    MemoryFileSystem.store.clear()
    yield enter
    MemoryFileSystem.store.clear()


def study(command: str, *options: str, code: int = 0) -> str:
    workers = ("--workers", "1") if command == "run" else ()
    result = CliRunner().invoke(app, ["study", command, "study.toml", *workers, *options])
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def states(*options: str) -> dict[str, int]:
    found = json.loads(study("status", "--format", "json", *options))["states"]
    return {state: count for state, count in found.items() if count}


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the files of runs, and the scores, by their names in a study's folder or in a store."""
    found = [path for path in folder.glob("runs/*/*") if path.name in FILES] + [folder / "scores.csv"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files of the study as one machine does it."""
    folder = tmp_path_factory.mktemp("serial")
    write_study(folder, SHORT)
    with pytest.MonkeyPatch.context() as here:
        here.chdir(folder)
        study("run")
    return files_of(folder / "studies/tiny")


def test_two_machines_do_a_study_and_a_third_reports_on_it(
    tmp_path: Path, machine: Any, serial: dict[str, bytes]
) -> None:
    store = (tmp_path / "store").as_uri()
    for name, share, before in (("a", "1/2", {"nothing": 2}), ("b", "2/2", {"captioned": 1, "nothing": 1})):
        machine(name)
        assert states("--results", store) == before
        assert study("run", "--shard", share, "--results", store).count(": validation loss ") == 1
    assert files_of(tmp_path / "store") == serial
    assert not list((tmp_path / "store").rglob(".*"))

    third = machine("c")
    assert states("--results", store) == {"captioned": 2}
    assert "best setting" in study("report", "--results", store)
    assert "2 of 2 runs have a score" in study("run", "--results", store)
    small = {name: content for name, content in serial.items() if name.endswith((*SMALL, "scores.csv"))}
    assert files_of(third / "studies/tiny") == small
    assert states() == {"captioned": 2}  # without a look at the store


def test_a_run_that_a_machine_began_and_died_goes_on_on_another(
    machine: Any, serial: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch, epochs = trainer._epoch, []

    def counted(experiment: Any, model: Any, optimiser: Any, history: Any, progress: Any) -> Any:
        if dies and history:
            raise KeyboardInterrupt
        epochs.append(len(history))
        return epoch(experiment, model, optimiser, history, progress)

    monkeypatch.setattr(trainer, "_epoch", counted)
    dies = True
    first = machine("a")
    study("run", "--results", "memory://bucket/tiny", code=130)
    (begun,) = first.glob("studies/tiny/runs/*/last.safetensors")
    assert f"/bucket/tiny/runs/{begun.parent.name}/last.safetensors" in MemoryFileSystem.store
    dies = False
    machine("b")
    assert states("--results", "memory://bucket/tiny") == {"begun": 1, "nothing": 1}
    study("run", "--results", "memory://bucket/tiny")
    assert sorted(epochs) == [0, 0, 1, 1]
    assert files_of(Path("studies/tiny")) == serial
    assert content(MemoryFileSystem) == serial

    # What the first machine had of the run is of an epoch that is not the last one any more.
    machine("a")
    assert states("--results", "memory://bucket/tiny") == {"captioned": 2}
    assert not begun.exists()
    monkeypatch.setattr(trainer, "_epoch", None)
    Path("study.toml").write_text(SHORT.replace("beam = 2", "beam = 1"))
    assert states("--results", "memory://bucket/tiny") == {"trained": 2}
    study("run", "--results", "memory://bucket/tiny")
    models = {name: data for name, data in serial.items() if name.endswith(("model.safetensors", "log.csv"))}
    assert models.items() <= files_of(first / "studies/tiny").items()
    machine("c")
    Path("study.toml").write_text(SHORT.replace("beam = 2", "beam = 1"))
    assert states("--results", "memory://bucket/tiny") == {"captioned": 2}


def test_machines_of_a_cluster_need_no_common_folder(machine: Any, serial: dict[str, bytes]) -> None:
    machine("driver")
    results = Results(ObjectStore("memory://bucket/tiny"))
    opened = open_study(read_study("study.toml"), Where(Path("studies/tiny"), results=results))

    def cluster(do: Any, jobs: Sequence[work.Job]) -> Iterator[tuple[work.Job, work.Outcome]]:
        for number, job in enumerate(jobs):
            own = Path(f"machine {number % 2}").absolute()
            places = replace(opened.shared.places, features=own / "features")
            yield job, work.work(job, replace(opened.shared, runs=own / "runs", places=places))

    outcomes = run_study(opened, cluster, workers=1)
    assert [outcome.problem for outcome in outcomes] == ["", ""]
    # One machine encoded recordings for all, and the other one encoded them when it needed them.
    for number in (0, 1):
        assert len(list(Path(f"machine {number}/runs").iterdir())) == 1
        assert any(Path(f"machine {number}/features").iterdir())
    assert score_study(opened) == 2
    results.put_study([opened.folder_of(run) for run in opened.runs], opened.folder / SCORES)
    assert content(MemoryFileSystem) == serial


def test_a_failure_is_seen_on_all_machines_until_one_of_them_succeeds(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ("--results", "memory://bucket", "--only", "adapter=mlp")
    machine("a")
    with monkeypatch.context() as broken:
        broken.setattr(work, "captions_of", None)
        study("run", *store, code=1)
    machine("b")
    assert "TypeError: 'NoneType' object is not callable" in study("status", *store)
    assert states(*store) == {"failed": 1}
    study("run", *store, code=1)
    study("run", *store, "--retry")
    assert not [name for name in MemoryFileSystem.store if name.endswith("failed")]
    machine("a")
    assert states(*store) == {"captioned": 1}


class Fragile(MemoryFileSystem):
    """Memory that fails at some puts, which are counted from 1."""

    protocol = ("fragile", "s3")  # so that a put is one call
    puts = 0
    broken = range(0)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return MemoryFileSystem._strip_protocol(path.replace("fragile://", "memory://"))

    def put_file(self, lpath: str, rpath: str, *arguments: Any, **options: Any) -> None:
        type(self).puts += 1
        if self.puts in self.broken:
            raise OSError("the network is down")
        super().put_file(lpath, rpath, *arguments, **options)


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Fragile]]:
    fsspec.register_implementation("fragile", Fragile)
    Fragile.puts, Fragile.broken = 0, range(0)
    Fragile.store.clear()
    yield Fragile
    Fragile.store.clear()
    del _registry["fragile"]


def content(fs: type[MemoryFileSystem]) -> dict[str, bytes]:
    """Return the files of the study in memory, by their names in its folder."""
    return {name.removeprefix("/bucket/tiny/"): file.getvalue() for name, file in fs.store.items()}


def test_a_store_that_cannot_be_written_loses_nothing(machine: Any, fragile: type[Fragile]) -> None:
    store = ("--results", "fragile://bucket/tiny", "--only", "adapter=mlp")
    folder = machine("a")
    fragile.broken = range(1, 3)  # the first one after each of the two epochs
    study("run", *store)
    serial = files_of(Path("studies/tiny"))
    assert content(fragile) == serial

    fragile.store.clear()
    shutil.rmtree(folder / "studies")
    fragile.broken = range(fragile.puts, 1000)
    text = study("run", *store, code=1)
    assert "validation loss" not in text
    sentence = (
        "The files in fragile://bucket/tiny cannot be put: the network is down. Check address, credentials"
    )
    assert f"failed: RunError: {sentence}" in text
    assert text.splitlines()[-1].startswith(sentence)
    assert files_of(Path("studies/tiny")) == serial
    assert states(*store) == {"captioned": 1}
    assert content(fragile) == {}
    fragile.broken = range(0)
    assert "validation loss" not in study("run", *store)
    assert content(fragile) == serial


def test_a_run_that_cannot_be_fetched_is_not_begun(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(results: Results, run: Path, captioned: str) -> None:
        raise RunError("no network")

    store = ("--results", "memory://bucket", "--only", "adapter=mlp")
    machine("a")
    monkeypatch.setattr(Results, "fetch", failing)
    text = study("run", *store, code=1)
    assert "failed: RunError: no network" in text
    assert "1 could not be finished or kept; the same command goes on with them." in text
    assert states(*store) == {"nothing": 1}


def test_no_mark_is_there_before_what_it_marks(tmp_path: Path, fragile: type[Fragile]) -> None:
    results, run = Results(ObjectStore("fragile://bucket")), tmp_path / "run"
    run.mkdir()
    for name in FILES:
        (run / name).write_text("one")
    marked = {"done": ("model.safetensors", "log.csv"), "captioned": ("captions.csv", "done")}
    for broken in range(1, len(FILES) + 1):
        fragile.store.clear()
        fragile.broken = range(fragile.puts + broken, fragile.puts + broken + 1)
        with pytest.raises(RunError):
            results.put(run)
        there = {name.rpartition("/")[2] for name in fragile.store}
        assert len(there) == broken - 1
        assert all({*files} <= there for mark, files in marked.items() if mark in there)
        results.put(run)
        assert len(fragile.store) == len(FILES)
    (run / "log.csv").write_text("o")
    (run / "captioned").write_text("two")
    results.put(run)  # this machine is behind
    assert {file.getvalue() for file in fragile.store.values()} == {b"one"}


def test_half_a_file_never_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(self: LocalFileSystem, source: str, target: str) -> None:
        Path(target).write_bytes(Path(source).read_bytes()[:1])
        raise OSError("no space left")

    store, file = ObjectStore((tmp_path / "store").as_uri()), tmp_path / "file"
    file.write_text("old")
    store.put(file, "runs/run/done")
    monkeypatch.setattr(LocalFileSystem, "put_file", half)
    monkeypatch.setattr(LocalFileSystem, "get_file", half)
    file.write_text("new")
    with pytest.raises(RunError, match="put: no space left"):
        store.put(file, "runs/run/done")
    with pytest.raises(RunError, match="fetched: no space left"):
        store.get("runs/run/done", file)
    assert (tmp_path / "store/runs/run/done").read_text() == "old"
    assert file.read_text() == "new"


def test_what_a_store_lists_becomes_no_path(tmp_path: Path, fragile: type[Fragile]) -> None:
    results, run = Results(ObjectStore("fragile://bucket/a")), tmp_path / "runs" / "run"
    wrong = ("../done", "../../done", "/done", "done", "x/done", "run/x/done", "run/../done", "run/x.py")
    for name in (*wrong, "run/log.csv"):
        fragile.store[f"/bucket/a/runs/{name}"] = MemoryFile(data=b"x")
    results.look([run], "")
    results.fetch(run, "")
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"log.csv", "lock"}
    assert (run / "log.csv").is_file()


def test_captions_of_one_search_and_a_mark_of_another_do_not_count(
    tmp_path: Path, fragile: type[Fragile]
) -> None:
    results, run = Results(ObjectStore("fragile://bucket")), tmp_path / "run"
    for mark in (b"", b"search", b"search ff", b"\xff"):
        files = {"done": b"x", "captions.csv": b"file_name,caption\n", "captioned": mark}
        for name, data in files.items():
            fragile.store[f"/bucket/runs/run/{name}"] = MemoryFile(data=data)
        results.look([run], "search")
        assert state_of(run, "search") is State.TRAINED


def test_a_file_that_goes_while_one_looks_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_file", lambda path: True)  # a moment ago, it was
    Results(ObjectStore("memory://bucket/tiny")).put(tmp_path)
    assert MemoryFileSystem.store == {}


@pytest.mark.parametrize(
    ("url", "code", "sentence"),
    [
        ("nosuch://bucket", 2, "Nothing can be kept in nosuch://bucket: fsspec knows no nosuch. Name a URL"),
        ("", 2, "Nothing can be kept in ''. Name a URL"),
        (
            "absent://me:pass@bucket",
            1,
            "absent://bucket cannot be reached: Install it. Type: pip install no_such_fs",
        ),
        (
            "fragile://me:pass@bucket?key=pass",
            1,
            "The files in fragile://bucket cannot be listed: OSError. Check",
        ),
        ("fragile://bucket", 1, "The files in fragile://bucket cannot be listed: pass is no password. Check"),
    ],
)
def test_what_goes_wrong_is_a_sentence_without_the_password(
    machine: Any, fragile: type[Fragile], monkeypatch: pytest.MonkeyPatch, url: str, code: int, sentence: str
) -> None:
    def failing(*arguments: Any, **options: Any) -> None:
        raise OSError("pass is no password")

    absent = {"class": "no_such_fs.FileSystem", "err": "Install it"}
    monkeypatch.setitem(known_implementations, "absent", absent)
    monkeypatch.setattr(fragile, "find", failing)
    folder = machine("a")
    text = study("status", "--results", url, code=code)
    assert text.startswith(sentence)
    if "me:" in url:
        assert "pass" not in text.replace("no password", "")
    for path in folder.rglob("*"):
        assert path.is_dir() or b"me:pass" not in path.read_bytes()
