"""One set of references, one set of candidates, and every metric between them."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from otoscribe.errors import MetricError
from otoscribe.metrics.bleu import Bleu, BleuStatistics
from otoscribe.metrics.cider import CiderD
from otoscribe.metrics.fense.fense import Fense, fense, spider_fl
from otoscribe.metrics.java.answers import AnswerCache
from otoscribe.metrics.java.meteor import Meteor, MeteorStatistics
from otoscribe.metrics.java.spice import Spice
from otoscribe.metrics.ngrams import Floats
from otoscribe.metrics.rouge import RougeL
from otoscribe.metrics.statistics import Describer, bootstrap_weights
from otoscribe.metrics.tokenizer import tokenize
from otoscribe.progress import Progress

BLEU = ("bleu_1", "bleu_2", "bleu_3", "bleu_4")
METRICS = (*BLEU, "rouge_l", "cider_d", "meteor", "spice", "spider", "spider_max", "spider_fl", "fense")
"""Every metric by name, in the order in which they are shown."""

Tokens = list[str]
T = TypeVar("T")


class References:
    """The references, with the indexes and running programs that stay for the next set of candidates."""

    def __init__(
        self, texts: dict[str, tuple[str, ...]], threads: int | None, progress: Progress | None
    ) -> None:
        self.texts = texts
        flat = iter(_tokenised("reference", texts))
        self.tokens = [[next(flat) for _ in clip] for clip in texts.values()]
        self._threads = threads
        self._progress = progress

    @cached_property
    def weights(self) -> Floats:
        """How often each bootstrap resample holds each clip, [resamples, clips]."""
        return bootstrap_weights(len(self.texts))

    @cached_property
    def describer(self) -> Describer:
        """What the candidates' vocabulary is compared with."""
        return Describer(self.tokens)

    @cached_property
    def bleu(self) -> Bleu:
        """The index of BLEU."""
        return Bleu([_words(clip) for clip in self.tokens])

    @cached_property
    def rouge_l(self) -> RougeL:
        """The index of ROUGE-L."""
        return RougeL(self.tokens)

    @cached_property
    def cider_d(self) -> CiderD:
        """The index of CIDEr-D."""
        return CiderD([_words(clip) for clip in self.tokens])

    @cached_property
    def meteor(self) -> Meteor:
        """The program of METEOR."""
        return Meteor(AnswerCache(), self._progress)

    @cached_property
    def spice(self) -> Spice:
        """The program of SPICE."""
        return Spice(AnswerCache(), self._threads, self._progress)

    @cached_property
    def fense(self) -> Fense:
        """The networks of FENSE and SPIDEr-FL."""
        return Fense(list(self.texts.values()), self._progress)

    def close(self) -> None:
        """End the programs that run."""
        for name in ("meteor", "spice"):
            program = self.__dict__.pop(name, None)
            if program is not None:
                program.close()


class _Once(Generic[T]):
    """Something that is computed when it is first needed, and fails only once too."""

    def __init__(self, compute: Callable[[], T]) -> None:
        self._compute = compute
        self._future: Future[T] | None = None

    def begin(self, executor: Executor) -> None:
        """Compute beside everything else."""
        self._future = executor.submit(self._compute)

    def get(self) -> T:
        if self._future is None:
            self._future = Future()
            try:
                self._future.set_result(self._compute())
            except MetricError as error:
                self._future.set_exception(error)
        return self._future.result()


class Evaluation:
    """One set of candidates, with what several metrics share. The best candidate of each clip comes first."""

    def __init__(self, references: References, texts: dict[str, tuple[str, ...]]) -> None:
        counts = np.array([len(captions) for captions in texts.values()])
        clip = np.repeat(np.arange(counts.size), counts)
        first = np.cumsum(counts) - counts
        tokens = _tokenised("candidate", texts)
        words = _words(tokens)
        of_candidates = [references.tokens[index] for index in clip]
        best = [captions[0] for captions in texts.values()]
        self._first: NDArray[np.int64] = first
        self.best = [tokens[index] for index in first]
        self._weights = references.weights
        self._bleu = _Once(
            lambda: self._summed(references.bleu.statistics([words[index] for index in first]))
        )
        self.meteor = _Once(lambda: self._summed(references.meteor.statistics(self.best, references.tokens)))
        self._rouge_l = _Once(lambda: references.rouge_l.score(self.best))
        # Of every candidate, [candidates].
        self._cider_d = _Once(lambda: references.cider_d.score_against(clip, words))
        self._spice = _Once(lambda: references.spice.score(tokens, of_candidates))
        self._similarity = _Once(lambda: references.fense.similarity(best))
        self._error_probability = _Once(lambda: references.fense.error_probability(best))

    def scores(self, metric: str) -> tuple[Floats, float, Floats]:
        """Return a metric per clip, of the whole set, and of every bootstrap resample."""
        if metric in BLEU:
            order = BLEU.index(metric)
            per_clip, corpus, resampled = self._bleu.get()
            return per_clip[:, order], float(corpus[order]), resampled[:, order]
        if metric == "meteor":
            per_clip, corpus, resampled = self.meteor.get()
            return per_clip, float(corpus), resampled
        values = self._per_clip(metric)
        return values, float(values.mean()), self._weights @ values / values.size

    def _summed(self, counts: BleuStatistics | MeteorStatistics) -> tuple[Floats, Floats, Floats]:
        """Score each clip, the whole set and every resample by what is counted, not by the mean."""
        return counts.per_clip(), counts.corpus(), counts.corpus(self._weights)

    def _per_clip(self, metric: str) -> Floats:
        match metric:
            case "rouge_l":
                return self._rouge_l.get()
            case "cider_d":
                return self._cider_d.get()[self._first]
            case "spice":
                return self._spice.get()[self._first]
            case "spider":
                return self._spider()[self._first]
            case "spider_max":
                best: Floats = np.maximum.reduceat(self._spider(), self._first)
                return best
            case "spider_fl":
                return spider_fl(self._per_clip("spider"), self._error_probability.get())
            case _:
                return fense(self._similarity.get(), self._error_probability.get())

    def _spider(self) -> Floats:
        """Score every candidate (Liu et al. 2017, section 3.3), [candidates]."""
        return (self._cider_d.get() + self._spice.get()) / 2


def _tokenised(kind: str, texts: Mapping[str, Sequence[str]]) -> list[Tokens]:
    tokens = []
    for clip, captions in texts.items():
        try:
            tokens.extend([tokenize(caption) for caption in captions])
        except MetricError as error:
            raise MetricError(f"A {kind} of {clip!r} cannot be scored. {error}") from error
    return tokens


def _words(texts: Sequence[Tokens]) -> list[Tokens]:
    """Return the words that pycocoevalcap counts for BLEU and CIDEr-D: at white space, a token parts."""
    return [" ".join(tokens).split() if "\xa0" in "".join(tokens) else tokens for tokens in texts]
