"""SPICE: agreement of scene graphs, as F1 of their tuples (Anderson et al. 2016, section 3).

The authors' program (spice-1.0.jar) and its parser (CoreNLP 3.6.0) run in a process of their own. Nearly all
the time is parsing, so every distinct caption is parsed once ever: its tuples are kept, and so are scores.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from otoscribe.errors import MetricError
from otoscribe.files import sha256
from otoscribe.metrics.java import runtime
from otoscribe.metrics.java.answers import AnswerCache, cached_answers
from otoscribe.metrics.java.spice_files import SpiceFiles
from otoscribe.metrics.java.worker import Worker
from otoscribe.processors import cores
from otoscribe.progress import Progress

WORDS = 150
"""Longest caption, as its parse takes memory with the square, and time with the cube, of its words."""
SECONDS = 120.0
"""Longest wait for one caption; `WORDS` words took a quarter of it on two cores."""
START_SECONDS = 180.0
WAY = 1
"""Counted up when `spice_worker.py` may give other answers than before."""
DECIDING = ("spice-1.0.jar", "lib/SceneGraphParser-1.0.jar", "lib/Meteor-1.5.jar")
"""Jars that decide the answers, beside CoreNLP's: the program, its rules for graphs, WordNet's synonyms."""


class Spice:
    """Scores captions. Its program starts when it is asked what `cache` does not hold, and stays warm.

    Args:
        cache: what was answered before.
        threads: how many captions are parsed at once; by default one for each core that we may use.
        progress: called after each new answer.
        find: gives the class path's entries that hold CoreNLP 3.6.0 and its models.
    """

    def __init__(
        self,
        cache: AnswerCache,
        threads: int | None = None,
        progress: Progress | None = None,
        find: Callable[[], Sequence[Path]] | None = None,
    ) -> None:
        self._cache = cache
        self._threads = threads or cores()
        self._progress = progress
        self._files = SpiceFiles()
        self._find = find or self._files.find

    def score(
        self, candidates: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
    ) -> NDArray[np.float64]:
        """Return SPICE of each caption against its references, from 0 to 1, [captions].

        The corpus score is the mean. A text without tuples, such as an empty one, scores 0. The order of
        references can matter, if rarely, as their graphs are merged one after the other.

        Args:
            candidates: captions x tokens, as the tokeniser gave them.
            references: captions x references x tokens; of a clip with many candidates, once for each.

        Raises:
            MetricError: packages or files are missing, a caption is too long, or the program failed.
        """
        of_candidates = [" ".join(tokens) for tokens in candidates]
        of_references = [[" ".join(tokens) for tokens in texts] for texts in references]
        captions = [*of_candidates, *chain.from_iterable(of_references)]
        for tokens in chain(candidates, chain.from_iterable(references)):
            if len(tokens) > WORDS:
                raise MetricError(
                    f"SPICE parses captions of up to {WORDS} words, and this one has {len(tokens)}: "
                    f"{' '.join(tokens[:10])!r}… Shorten it, or leave SPICE out."
                )
        answers = self._asked("parsing captions", self._parse, captions)
        parsed = dict(zip(captions, answers, strict=True))
        pairs = [
            f'{{"score": [{parsed[candidate]}, [{", ".join(parsed[text] for text in texts)}]]}}'
            for candidate, texts in zip(of_candidates, of_references, strict=True)
        ]
        return np.array([float(score) for score in self._asked("comparing", self._compare, pairs)])

    def close(self) -> None:
        """End the program. The next new caption starts it again."""
        if "_worker" in self.__dict__:
            self._worker.close()

    def _asked(
        self, what: str, ask: Callable[[Iterable[str]], Iterator[str]], questions: list[str]
    ) -> list[str]:
        return cached_answers(ask, self._cache, self._program, questions, f"SPICE: {what}", self._progress)

    def _parse(self, captions: Iterable[str]) -> Iterator[str]:
        captions = list(captions)
        answers = self._worker.ask(json.dumps({"parse": caption}) for caption in captions)
        for caption, answer in zip(captions, answers, strict=True):
            if answer.startswith("{"):
                error = json.loads(answer)["error"]
                raise MetricError(f"SPICE cannot parse the caption {caption!r}: {error}. Leave it out.")
            yield answer

    def _compare(self, pairs: Iterable[str]) -> Iterator[str]:
        for answer in self._worker.ask(pairs):
            if answer.startswith("{"):
                raise MetricError(f"SPICE cannot compare two captions: {json.loads(answer)['error']}.")
            yield answer

    @cached_property
    def _program(self) -> str:
        """What decides answers, for the keys of the cache."""
        folder = runtime.jars() / "spice"
        sums = " ".join(sha256(folder / name) for name in DECIDING)
        return f"SPICE {WAY} {self._files.fingerprint} {sums}"

    @cached_property
    def _worker(self) -> Worker:
        runtime.require_jpype()
        folder = runtime.jars() / "spice"
        jars = [*self._find(), folder / "spice-1.0.jar", *sorted((folder / "lib").glob("*.jar"))]
        script = Path(__file__).with_name("spice_worker.py")
        # -P, or modules of this folder would hide the standard library's of the same name.
        command = [sys.executable, "-P", str(script), str(runtime.java_home()), str(self._threads)]
        return Worker(
            "SPICE",
            [*command, *map(str, jars)],
            r'\[.*\]|[0-9.E-]+|\{"error": ".*"\}',
            SECONDS,
            START_SECONDS,
        )
