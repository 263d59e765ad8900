import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from otoscribe.errors import MetricError, MetricWarning
from otoscribe.metrics.java.answers import AnswerCache, cached_answers


@pytest.fixture
def cache(tmp_path: Path) -> AnswerCache:
    return AnswerCache(tmp_path / "some folder" / "a #?% name.sqlite")


def test_answers_stay_across_processes(cache: AnswerCache) -> None:
    assert cache.lookup("p 1", ["a"]) == {}
    assert not cache.path.exists()
    cache.store("p 1", {"a": "A", "ä\n": "Ä", "": ""})
    again = AnswerCache(cache.path)
    assert again.lookup("p 1", ["ä\n", "", "b", "a"]) == {"ä\n": "Ä", "": "", "a": "A"}
    # Sharing is copying one file.
    assert [path.name for path in cache.path.parent.iterdir()] == [cache.path.name]


def test_programs_are_told_apart(cache: AnswerCache) -> None:
    cache.store("p 1", {"a": "A"})
    cache.store("p 2", {"a": "B"})
    assert cache.lookup("p 1", ["a"]) == {"a": "A"}
    assert cache.lookup("p 2", ["a"]) == {"a": "B"}
    assert cache.lookup("p ", ["1a", "2a"]) == {}


def test_a_newer_answer_takes_the_place_of_an_older(cache: AnswerCache) -> None:
    cache.store("p", {"a": "A"})
    cache.store("p", {"a": "B", "c": "C"})
    assert cache.lookup("p", ["a", "c"]) == {"a": "B", "c": "C"}


def test_many_answers(cache: AnswerCache) -> None:
    answers = {f"question {number}": f"answer {number}" for number in range(3000)}
    cache.store("p", answers)
    assert cache.lookup("p", [*answers, "unknown"]) == answers


def test_the_default_place_is_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTOSCRIBE_CACHE", str(tmp_path / "cache"))
    AnswerCache().store("p", {"a": "A"})
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["metrics.sqlite"]


WRITER = """
import sys
from pathlib import Path
from otoscribe.metrics.java.answers import AnswerCache
cache = AnswerCache(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    cache.store("p", {f"{sys.argv[2]} {number}": "x" * 1000, "shared": "same"})
    print(number, flush=True)
"""


def write(cache: AnswerCache, name: str, times: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", WRITER, str(cache.path), name, str(times)],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_parallel_writers(cache: AnswerCache) -> None:
    writers = [write(cache, name, 20) for name in "abcd"]
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    questions = [f"{name} {number}" for name in "abcd" for number in range(20)]
    assert cache.lookup("p", [*questions, "shared"]) == {
        **dict.fromkeys(questions, "x" * 1000),
        "shared": "same",
    }


@pytest.mark.parametrize("after", [1, 4, 9])
def test_a_kill_in_mid_write_loses_nothing_that_was_kept(cache: AnswerCache, after: int) -> None:
    writer = write(cache, "a", 100_000)
    assert writer.stdout is not None
    with writer.stdout:
        for _ in range(after):
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        last = max([last, *(int(line) for line in writer.stdout if line.endswith("\n"))])
    writer.wait()
    assert len(cache.lookup("p", [f"a {number}" for number in range(last + 1)])) == last + 1
    cache.store("p", {"b": "B"})
    assert cache.lookup("p", ["b"]) == {"b": "B"}
    with closing(sqlite3.connect(cache.path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert [path.name for path in cache.path.parent.iterdir()] == [cache.path.name]


HALF = """
import os, signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA cache_size = 1")
database.execute("BEGIN IMMEDIATE")
database.execute("UPDATE answers SET answer = 'wrong', checksum = 0")
database.executemany("INSERT INTO answers VALUES (?, ?, 0)", [(b"%d" % i, "x" * 1000) for i in range(2000)])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_half_a_transaction_is_undone(cache: AnswerCache) -> None:
    cache.store("p", {"a": "A"})
    subprocess.run([sys.executable, "-c", HALF, str(cache.path)], check=False)
    assert len(list(cache.path.parent.iterdir())) == 2  # with the journal to undo it by
    assert cache.lookup("p", ["a"]) == {"a": "A"}
    assert len(list(cache.path.parent.iterdir())) == 1


def assert_goes_on(cache: AnswerCache, match: str) -> None:
    """Check that one warning comes, once, and that answers are kept in this process."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        known = cache.lookup("p", ["a"])
        cache.store("p", {"b": "B"})
    assert [warning.category for warning in caught] == [MetricWarning]
    assert re.search(match, str(caught[0].message))
    assert str(cache.path) in str(caught[0].message)
    assert known in ({}, {"a": "A"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.store("p", {"c": "C"})
        assert cache.lookup("p", ["a", "b", "c"]) == {**known, "b": "B", "c": "C"}


@pytest.mark.parametrize("size", [0, 3, 5000])
def test_a_file_that_is_no_database(cache: AnswerCache, size: int) -> None:
    cache.path.parent.mkdir()
    cache.path.write_bytes(b"no database " * size)
    if size:
        assert_goes_on(cache, "cannot be read: file is not a database.*delete it")
        assert cache.path.read_bytes() == b"no database " * size
    else:
        # An empty file is an empty database.
        cache.store("p", {"a": "A"})
        assert cache.lookup("p", ["a"]) == {"a": "A"}


def test_a_folder_in_its_place(cache: AnswerCache) -> None:
    cache.path.mkdir(parents=True)
    assert_goes_on(cache, "cannot be read")


def test_a_file_in_place_of_its_folder(cache: AnswerCache) -> None:
    cache.path.parent.write_text("in the way")
    assert_goes_on(cache, "cannot be written")


def test_the_database_of_another_program_is_left_alone(cache: AnswerCache) -> None:
    cache.path.parent.mkdir()
    with closing(sqlite3.connect(cache.path)) as database:
        database.execute("CREATE TABLE answers (mine)")
        database.commit()
    before = cache.path.read_bytes()
    assert_goes_on(cache, "cannot be read: it is a database of another program or version")
    assert cache.path.read_bytes() == before


def test_damaged_pages(cache: AnswerCache) -> None:
    cache.store("p", {"a": "A", **{f"q {number}": "x" * 500 for number in range(100)}})
    data = bytearray(cache.path.read_bytes())
    data[4096:] = bytes(range(256)) * ((len(data) - 4096) // 256)
    cache.path.write_bytes(data)
    assert_goes_on(cache, "cannot be read: .*malformed")


@pytest.mark.parametrize("assignment", ["answer = 'wrong'", "checksum = 0", "answer = x'00ff'", "answer = 7"])
def test_a_changed_answer_is_not_believed(cache: AnswerCache, assignment: str) -> None:
    cache.store("p", {"a": "A"})
    with closing(sqlite3.connect(cache.path)) as database:
        database.execute(f"UPDATE answers SET {assignment}")
        database.commit()
    assert cache.lookup("p", ["a"]) == {}
    cache.store("p", {"a": "A"})
    assert cache.lookup("p", ["a"]) == {"a": "A"}


def test_a_full_disk(cache: AnswerCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.store("p", {"a": "A"})
    connect = sqlite3.connect

    def connected(address: str, **settings: Any) -> sqlite3.Connection:
        database = connect(address, **settings)
        database.execute("PRAGMA max_page_count = 1")
        return database

    monkeypatch.setattr(sqlite3, "connect", connected)
    large = {"large": "x" * 100_000}
    with pytest.warns(MetricWarning, match="cannot be written: database or disk is full"):
        cache.store("p", large)
    cache.store("p", {"b": "B"})
    assert cache.lookup("p", ["a", "b", "large"]) == {"a": "A", "b": "B", **large}
    monkeypatch.undo()
    assert AnswerCache(cache.path).lookup("p", ["a", "b", "large"]) == {"a": "A"}


LIMITED = """
import resource, signal, sys, warnings
from pathlib import Path
from otoscribe.metrics.java.answers import AnswerCache
cache = AnswerCache(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for number in range(5):
        cache.store("p", {f"q {number}": "x" * 20_000})
print(len(caught), caught[0].category.__name__, len(cache.lookup("p", map("q {}".format, range(5)))))
"""


def test_a_file_that_cannot_grow(cache: AnswerCache) -> None:
    cache.store("p", {"a": "A"})
    ours = subprocess.run(
        [sys.executable, "-c", LIMITED, str(cache.path)], capture_output=True, text=True, check=True
    )
    assert ours.stdout.split() == ["1", "MetricWarning", "5"]
    # What could not be written whole was not written at all.
    known = cache.lookup("p", ["a", *map("q {}".format, range(5))])
    assert known["a"] == "A"
    assert 1 <= len(known) < 6


def test_a_file_that_cannot_be_written(cache: AnswerCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.store("p", {"a": "A"})
    connect = sqlite3.connect

    # Permissions would not stop root.
    def connected(address: str, **settings: Any) -> sqlite3.Connection:
        database = connect(address, **settings)
        database.execute("PRAGMA query_only = ON")
        return database

    monkeypatch.setattr(sqlite3, "connect", connected)
    assert_goes_on(cache, "cannot be written: attempt to write a readonly database")


@pytest.mark.skipif(os.geteuid() == 0, reason="Root may write anywhere.")
def test_a_folder_that_cannot_be_written(cache: AnswerCache) -> None:
    cache.store("p", {"a": "A"})
    cache.path.chmod(0o400)
    cache.path.parent.chmod(0o500)
    assert_goes_on(cache, "cannot be written: attempt to write a readonly database")
    cache.path.parent.chmod(0o700)


def test_a_file_that_is_never_free(cache: AnswerCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.store("p", {"a": "A"})
    monkeypatch.setattr("otoscribe.metrics.java.answers.PATIENCE", 0.05)
    with closing(sqlite3.connect(cache.path, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        assert_goes_on(cache, "cannot be read: database is locked")


def test_threads(cache: AnswerCache) -> None:
    def work(name: int) -> None:
        for number in range(10):
            cache.store("p", {f"{name} {number}": "x"})
            assert cache.lookup("p", [f"{name} {number}"])

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cache.lookup("p", [f"{name} {number}" for name in range(4) for number in range(10)])) == 40


class Program:
    """Answers in capitals, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def ask(self, questions: Iterable[str]) -> Iterator[str]:
        questions = list(questions)
        self.asked.append(questions)
        for question in questions:
            if question == "fail":
                raise MetricError("It failed.")
            yield question.upper()


def test_only_what_is_new_is_asked_and_once(cache: AnswerCache) -> None:
    program = Program()
    said: list[tuple[str, int, int]] = []

    def progress(what: str, done: int, total: int) -> None:
        said.append((what, done, total))

    assert cached_answers(program.ask, cache, "p", ["b", "a", "b"], "work", progress) == ["B", "A", "B"]
    assert said == [("work", 0, 2), ("work", 1, 2), ("work", 2, 2)]
    assert cached_answers(program.ask, cache, "p", ["c", "a", "c"], "work") == ["C", "A", "C"]
    assert program.asked == [["b", "a"], ["c"]]
    assert cached_answers(program.ask, cache, "p", ["a", "b", "c"], "work", progress) == ["A", "B", "C"]
    assert cached_answers(program.ask, cache, "p", [], "work") == []
    assert len(program.asked) == 2
    assert len(said) == 3


def test_what_came_before_a_failure_is_kept(cache: AnswerCache) -> None:
    program = Program()
    with pytest.raises(MetricError, match="It failed"):
        cached_answers(program.ask, cache, "p", ["a", "b", "fail", "c"], "work")
    assert cache.lookup("p", ["a", "b", "fail", "c"]) == {"a": "A", "b": "B"}


def test_answers_are_kept_while_they_come(cache: AnswerCache, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(0, 1000, 2))
    monkeypatch.setattr("otoscribe.metrics.java.answers.time.monotonic", lambda: next(seconds))
    kept: list[int] = []

    def progress(what: str, done: int, total: int) -> None:
        kept.append(len(cache.lookup("p", ["a", "b", "c"])))

    cached_answers(Program().ask, cache, "p", ["a", "b", "c"], "work", progress)
    assert kept == [0, 0, 1, 2]


def test_too_few_answers_are_an_error(cache: AnswerCache) -> None:
    with pytest.raises(ValueError, match="shorter"):
        cached_answers(lambda questions: ["A"], cache, "p", ["a", "b"], "work")
    assert cache.lookup("p", ["a", "b"]) == {"a": "A"}
