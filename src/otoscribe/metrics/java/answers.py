"""Answers of slow programs, kept in one SQLite file: every caption is parsed once ever."""

import hashlib
import sqlite3
import time
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from otoscribe import files
from otoscribe.errors import MetricWarning
from otoscribe.progress import Progress

APPLICATION = 0x6F746F73  # "otos"
SCHEMA = 1
PATIENCE = 30.0
"""Seconds to wait for other processes that write."""
LOOKUP = 500
"""Keys in one query; old SQLite libraries take 999."""


class AnswerCache:
    """The answers that programs gave to questions, for any number of processes at once.

    The file is whole after every call, without companions, so that copying it shares it. It never stops a
    score: if it cannot be read or written, a `MetricWarning` says so once, and answers are kept until this
    object ends.

    Args:
        path: the SQLite file, made when there is something to keep; by default in `files.cache_folder()`.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = files.cache_folder() / "metrics.sqlite" if path is None else path
        self._readable = True
        self._writable = True
        self._unwritten: dict[bytes, str] = {}

    def lookup(self, program: str, questions: Iterable[str]) -> dict[str, str]:
        """Return those of the questions that have an answer, with it.

        Args:
            program: name, version and checksum of everything that decides an answer.
            questions: what the program would be asked.
        """
        asked = {_key(program, question): question for question in questions}
        found = {key: self._unwritten[key] for key in asked if key in self._unwritten}
        if self._readable:
            try:
                if self.path.exists():
                    with self._open("rw") as database:
                        found.update(_look_up(database, list(asked)))
            except (sqlite3.Error, OSError) as error:
                self._readable = self._writable = False
                self._warn("read", error)
        return {asked[key]: answer for key, answer in found.items()}

    def store(self, program: str, answers: Mapping[str, str]) -> None:
        """Keep the answers of a program to questions, for good when this returns."""
        if not answers:
            return
        rows = {_key(program, question): answer for question, answer in answers.items()}
        if self._writable:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self._open("rwc") as database:
                    _insert(database, rows)
                return
            except (sqlite3.Error, OSError) as error:
                self._writable = False
                self._warn("written", error)
        self._unwritten.update(rows)

    @contextmanager
    def _open(self, mode: str) -> Iterator[sqlite3.Connection]:
        # A connection for each use: none to share between threads or to carry over a fork.
        address = f"{self.path.resolve().as_uri()}?mode={mode}"
        with closing(sqlite3.connect(address, timeout=PATIENCE, isolation_level=None, uri=True)) as database:
            yield database

    def _warn(self, done: str, error: Exception) -> None:
        warnings.warn(
            f"{self.path}, where answers of METEOR and SPICE are kept, cannot be {done}: {error}. Scores "
            "stay right, but the same captions will cost time again. If the file is damaged, delete it.",
            MetricWarning,
            stacklevel=3,
        )


def cached_answers(
    ask: Callable[[Iterable[str]], Iterable[str]],
    cache: AnswerCache,
    program: str,
    questions: Sequence[str],
    what: str,
    progress: Progress | None = None,
) -> list[str]:
    """Return the answer to every question, asking only what is neither in the cache nor twice in the list.

    New answers are kept about every second while they come, so that an interruption loses no more.

    Args:
        ask: gives the answers to questions in their order, such as `Worker.ask`; not called without any.
        cache: where answers are looked up and stored.
        program: see `AnswerCache.lookup`.
        questions: may hold the same question many times.
        what: names the work for `progress`, such as "SPICE: parsing captions".
        progress: called at the start and after every new answer, if any is unknown; what is known counts as
            done.
    """
    answers = cache.lookup(program, questions)
    unknown = [question for question in dict.fromkeys(questions) if question not in answers]
    if not unknown:
        return [answers[question] for question in questions]
    fresh: dict[str, str] = {}
    kept = time.monotonic()
    total = len(dict.fromkeys(questions))
    before = total - len(unknown)
    if progress:
        progress(what, before, total)
    try:
        for done, (question, answer) in enumerate(zip(unknown, ask(unknown), strict=True), start=1):
            answers[question] = fresh[question] = answer
            if progress:
                progress(what, before + done, total)
            if time.monotonic() - kept > 1:
                cache.store(program, fresh)
                fresh = {}
                kept = time.monotonic()
    finally:
        cache.store(program, fresh)
    return [answers[question] for question in questions]


def _key(program: str, question: str) -> bytes:
    # Programs are told apart first, so that no program and question together read as another pair.
    prefix = hashlib.sha256(program.encode("utf-8", "surrogatepass")).digest()
    return hashlib.sha256(prefix + question.encode("utf-8", "surrogatepass")).digest()[:16]


def _check(key: bytes, answer: str) -> int:
    # SQLite finds out about damaged pages, but not about a changed byte of a value.
    return zlib.crc32(answer.encode("utf-8"), zlib.crc32(key))


def _ours(database: sqlite3.Connection) -> bool:
    """Say whether the file is such a cache; not yet, if it is empty.

    Raises:
        sqlite3.DatabaseError: it is something else.
    """
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (schema,) = database.execute("PRAGMA user_version").fetchone()
    if (application, schema) == (APPLICATION, SCHEMA):
        return True
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application or schema or tables:
        raise sqlite3.DatabaseError("it is a database of another program or version")
    return False


def _look_up(database: sqlite3.Connection, keys: list[bytes]) -> dict[bytes, str]:
    found = {}
    # One transaction, so that nothing is written between the question whose file it is and the look-up.
    database.execute("BEGIN")
    if _ours(database):
        for start in range(0, len(keys), LOOKUP):
            some = keys[start : start + LOOKUP]
            marks = ",".join("?" * len(some))
            for key, answer, check in database.execute(
                f"SELECT key, answer, checksum FROM answers WHERE key IN ({marks})", some
            ):
                if isinstance(answer, str) and _check(key, answer) == check:
                    found[key] = answer
    database.execute("COMMIT")
    return found


def _insert(database: sqlite3.Connection, rows: dict[bytes, str]) -> None:
    database.execute("BEGIN IMMEDIATE")
    if not _ours(database):
        database.execute(
            "CREATE TABLE answers (key BLOB PRIMARY KEY, answer TEXT NOT NULL, checksum INTEGER NOT NULL) "
            "WITHOUT ROWID"
        )
        database.execute(f"PRAGMA application_id = {APPLICATION}")
        database.execute(f"PRAGMA user_version = {SCHEMA}")
    database.executemany(
        "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)",
        [(key, answer, _check(key, answer)) for key, answer in rows.items()],
    )
    database.execute("COMMIT")
