"""METEOR, a caption's alignment with its best reference by words, stems, synonyms and paraphrases.

Version 1.5, "METEOR Universal" (Denkowski and Lavie 2014, section 2). The authors' program aligns, in a
process of its own, as pycocoevalcap runs it (`-l en -norm`). What it counts is made into scores here, so that
a bootstrap needs no program.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from otoscribe import files
from otoscribe.errors import MetricError
from otoscribe.metrics import ngrams
from otoscribe.metrics.java import runtime
from otoscribe.metrics.java.answers import AnswerCache, cached_answers
from otoscribe.metrics.java.worker import Worker
from otoscribe.metrics.ngrams import Floats
from otoscribe.progress import Progress

ALPHA = 0.85
"""Weight of recall against precision."""
BETA = 0.2
"""How the penalty grows with the share of broken order."""
GAMMA = 0.6
"""The largest penalty."""
DELTA = 0.75
"""Weight of content words against function words."""
MATCHERS = (1.0, 0.6, 0.8, 0.6)
"""Weights of matches by word, stem, synonym and paraphrase."""

COUNTS = 23
"""Numbers that the program prints for a caption: lengths and function words of caption and reference; for
each matcher content words of both and function words of both; chunks; words matched of both."""
ANSWER = rf"(\d+\.\d+ ){{{COUNTS - 1}}}\d+\.\d+"
OPTIONS = ("-", "-", "-stdio", "-l", "en", "-norm")
# The table of paraphrases fills half a gigabyte; the serial collector needs the least beside it.
LIMITS = ("-Xmx2G", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "-XX:-UsePerfData")
SECONDS = 120.0
"""Longest wait for one caption; one of 10,000 words takes 10 for each reference."""
START_SECONDS = 240.0
"""Longest wait for the first, for which the program reads its paraphrases; 10 seconds on a free processor."""


@dataclass(frozen=True)
class MeteorStatistics:
    """What METEOR counts in each clip; a corpus is scored by the sums."""

    counts: Floats
    """[clips, `COUNTS`]"""

    def per_clip(self) -> Floats:
        """Return METEOR of each clip by itself, 0 to 1, [clips]."""
        return _meteor(self._addable())

    def corpus(self, weights: Floats | None = None) -> Floats:
        """Score the clips as one corpus, or many corpora drawn from them.

        Args:
            weights: how often each corpus holds each clip, [corpora, clips]. None is every clip once.

        Returns:
            METEOR, 0 to 1, [corpora], or a single number without `weights`.
        """
        counts = self._addable()
        return _meteor(counts.sum(axis=0) if weights is None else weights @ counts)

    def _addable(self) -> Floats:
        """Return the counts as the program adds them: without the chunk of a perfect alignment."""
        counts = self.counts.copy()
        perfect = (counts[:, 20] == 1) & (counts[:, 21:23] == counts[:, 0:2]).all(axis=1)
        counts[perfect, 20] = 0
        return counts


class Meteor:
    """Scores captions. Its program starts when it is asked what `cache` does not hold, and stays warm.

    Args:
        cache: what was answered before.
        progress: called with how many captions are aligned.
    """

    def __init__(self, cache: AnswerCache, progress: Progress | None = None) -> None:
        self._cache = cache
        self._progress = progress
        self._worker: Worker | None = None
        self._closed = False

    @cached_property
    def _program(self) -> str:
        folder = runtime.jars() / "meteor"
        read = (folder / "meteor-1.5.jar", folder / "data" / "paraphrase-en.gz")
        return " ".join(["METEOR 1.5", *OPTIONS, *(files.sha256(path) for path in read)])

    def statistics(
        self, candidates: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
    ) -> MeteorStatistics:
        """Count what METEOR compares, for one caption per clip.

        Args:
            candidates: clips x tokens, as the tokeniser gave them.
            references: clips x references x tokens; one or more each, they may differ in number.

        Raises:
            UsageError: there are more or fewer captions than clips, or a text stands where tokens should.
            MetricError: the program is not installed, or fails.
        """
        self._closed = False
        ngrams.require_one_each(candidates, len(references))
        questions = [
            " ||| ".join(["SCORE", *map(_text, texts), _text(candidate)])
            for candidate, texts in zip(candidates, references, strict=True)
        ]
        what = "METEOR: aligning captions"
        answers = cached_answers(self._ask, self._cache, self._program, questions, what, self._progress)
        return MeteorStatistics(np.array([answer.split() for answer in answers], dtype=np.float64))

    def _ask(self, questions: Iterable[str]) -> Iterator[str]:
        if self._worker is None:
            jar = runtime.jars() / "meteor" / "meteor-1.5.jar"
            command = [str(runtime.java()), *LIMITS, "-jar", str(jar), *OPTIONS]
            self._worker = Worker("METEOR", command, ANSWER, SECONDS, START_SECONDS)
        if self._closed:  # before there was a worker to close
            raise MetricError("METEOR was closed before it had answered.")
        return self._worker.ask(questions)

    def close(self) -> None:
        """End the program, also from another thread; `statistics` starts it again when it needs it."""
        self._closed = True
        if self._worker is not None:
            self._worker.close()


def _text(tokens: Sequence[str]) -> str:
    # Three bars part the texts of a question.
    return " ".join(tokens).replace("|||", "")


def _meteor(counts: Floats) -> Floats:
    """Make METEOR of counts, [..., `COUNTS`] (Denkowski and Lavie 2014, section 2)."""
    lengths, functions = counts[..., 0:2], counts[..., 2:4]
    # [..., matchers, content and function words, candidate and reference]
    matches = counts[..., 4:20].reshape(*counts.shape[:-1], len(MATCHERS), 2, 2)
    matched = np.einsum("m,w,...mws->...s", MATCHERS, (DELTA, 1 - DELTA), matches)
    there = DELTA * (lengths - functions) + (1 - DELTA) * functions
    precision, recall = np.moveaxis(_ratio(matched, there), -1, 0)
    mean = _ratio(precision * recall, ALPHA * precision + (1 - ALPHA) * recall)
    broken = _ratio(counts[..., 20], counts[..., 21:23].mean(axis=-1))
    score: Floats = mean * (1 - GAMMA * broken**BETA)
    return score


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Divide; nothing of nothing is 0."""
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole != 0)
