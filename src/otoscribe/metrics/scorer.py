"""Captions and references → every metric, per clip and for the whole set, with intervals."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from otoscribe.errors import MetricError, UsageError, unknown_name
from otoscribe.metrics.bleu import Bleu
from otoscribe.metrics.cider import CiderD
from otoscribe.metrics.fense import Fense, fense, spider_fl
from otoscribe.metrics.memory import Memory
from otoscribe.metrics.meteor import Meteor
from otoscribe.metrics.rouge import RougeL
from otoscribe.metrics.spice import Spice
from otoscribe.metrics.statistics import Describer, Estimate, Statistics, bootstrap_weights, interval
from otoscribe.metrics.tokenizer import tokenize
from otoscribe.progress import Progress

BLEU = ("bleu_1", "bleu_2", "bleu_3", "bleu_4")
METRICS = (*BLEU, "rouge_l", "cider_d", "meteor", "spice", "spider", "spider_max", "spider_fl", "fense")
"""Every metric by name, in the order in which they are shown."""

Floats = NDArray[np.float64]
Tokens = list[str]
T = TypeVar("T")
Texts = Mapping[str, str | Sequence[str]] | Sequence[str | Sequence[str]]
"""Captions of clips, by id or in some order. One clip has one text, or several."""


@dataclass(frozen=True)
class Scores:
    """What one set of candidates scored."""

    clips: tuple[str, ...]
    """Ids in the order of the references; counted from 0 where the references have none."""
    corpus: Mapping[str, Estimate]
    """Each metric of the whole set, with its 95 % bootstrap interval over clips."""
    per_clip: Mapping[str, Floats]
    """Each metric of each clip, [clips]."""
    missing: Mapping[str, str]
    """Why a metric that was asked for has no score."""
    statistics: Statistics
    """Lengths and vocabulary of the candidates."""


class Scorer:
    """Scores any number of candidate sets against references that are tokenised and indexed once.

    METEOR and SPICE need Java programs, which start when the first caption needs them and stay warm until
    `close`, or the end of a `with` block. What they answer is kept in `files.cache_folder()`.

    Args:
        references: one text or several for each clip.
        metrics: names out of `METRICS`; all if None, and then `spider_max` only where clips have several
            candidates.
        threads: how many processor threads parse for SPICE; as many as there are if None.
        progress: called from time to time, also from another thread.

    Raises:
        UsageError: there is no clip, a clip has no reference, or no metric has such a name.
        MetricError: a reference cannot be tokenised.
    """

    def __init__(
        self,
        references: Texts,
        metrics: Iterable[str] | None = None,
        *,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._metrics = None if metrics is None else tuple(metrics)
        for name in self._metrics or ():
            if name not in METRICS:
                raise unknown_name("metric", name, METRICS)
        self._by_id = isinstance(references, Mapping)
        texts = _by_clip(references)
        if not texts or not all(texts.values()):
            raise UsageError("Scores need at least one clip, and at least one reference for each clip.")
        self._references = _References(texts, threads, progress)

    def __enter__(self) -> "Scorer":
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """End the Java programs; the next `score` starts them again."""
        self._references.close()

    def score(self, candidates: Texts) -> Scores:
        """Score one set of candidates.

        Args:
            candidates: one caption for each clip, or several with the best first: all metrics but
                `spider_max` see the first only. By id or in order, as the references were given.

        Raises:
            UsageError: the references have ids and the candidates do not, or the other way round.
            MetricError: a clip has no candidate or no reference, or a candidate cannot be tokenised.
        """
        texts = self._matched(candidates)
        several = any(len(captions) > 1 for captions in texts.values())
        wanted = self._metrics or [name for name in METRICS if several or name != "spider_max"]
        if "spider_max" not in wanted:
            texts = {clip: captions[:1] for clip, captions in texts.items()}
        corpus: dict[str, Estimate] = {}
        per_clip: dict[str, Floats] = {}
        missing: dict[str, str] = {}
        with ThreadPoolExecutor(1) as beside:
            evaluation = _Evaluation(self._references, texts)
            if "meteor" in wanted:
                # Its program reads for seconds before the first answer; meanwhile SPICE parses.
                evaluation.meteor.begin(beside)
            for name in wanted:
                try:
                    per_clip[name], value, resampled = evaluation.scores(name, self._references.weights)
                except MetricError as error:
                    missing[name] = str(error)
                else:
                    corpus[name] = Estimate(value, *interval(resampled))
        statistics = self._references.describer.describe(evaluation.best)
        return Scores(tuple(texts), corpus, per_clip, missing, statistics)

    def _matched(self, candidates: Texts) -> dict[str, tuple[str, ...]]:
        """Return the candidates in the order of the references."""
        if isinstance(candidates, Mapping) != self._by_id:
            raise UsageError("Give references and candidates alike: both by id, or both in the same order.")
        texts, clips = _by_clip(candidates), self._references.texts
        if not self._by_id and len(texts) != len(clips):
            raise MetricError(f"There are {len(texts)} candidates for {len(clips)} clips; give one each.")
        without = [clip for clip in clips if not texts.get(clip)]
        if without:
            raise MetricError(f"{_some(without)} no candidate: add a caption, or remove the references.")
        unknown = [clip for clip in texts if clip not in clips]
        if unknown:
            raise MetricError(f"{_some(unknown)} no reference: add some, or remove the candidates.")
        return {clip: texts[clip] for clip in clips}


class _References:
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
        return bootstrap_weights(len(self.texts))

    @cached_property
    def describer(self) -> Describer:
        return Describer(self.tokens)

    @cached_property
    def bleu(self) -> Bleu:
        return Bleu([_words(clip) for clip in self.tokens])

    @cached_property
    def rouge_l(self) -> RougeL:
        return RougeL(self.tokens)

    @cached_property
    def cider_d(self) -> CiderD:
        return CiderD([_words(clip) for clip in self.tokens])

    @cached_property
    def meteor(self) -> Meteor:
        return Meteor(Memory(), self._progress)

    @cached_property
    def spice(self) -> Spice:
        return Spice(Memory(), self._threads, self._progress)

    @cached_property
    def fense(self) -> Fense:
        return Fense(list(self.texts.values()), self._progress)

    def close(self) -> None:
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


class _Evaluation:
    """One set of candidates, with what several metrics share. The best candidate of each clip comes first."""

    def __init__(self, references: _References, texts: dict[str, tuple[str, ...]]) -> None:
        counts = np.array([len(captions) for captions in texts.values()])
        clip = np.repeat(np.arange(counts.size), counts)
        first = np.cumsum(counts) - counts
        tokens = _tokenised("candidate", texts)
        words = _words(tokens)
        heard = [references.tokens[index] for index in clip]
        best = [captions[0] for captions in texts.values()]
        self._first: NDArray[np.int64] = first
        self.best = [tokens[index] for index in first]
        self._bleu = _Once(lambda: references.bleu.statistics([words[index] for index in first]))
        self.meteor = _Once(lambda: references.meteor.statistics(self.best, references.tokens))
        self._rouge_l = _Once(lambda: references.rouge_l.score(self.best))
        # Of every candidate, [candidates].
        self._cider_d = _Once(lambda: references.cider_d.score_against(clip, words))
        self._spice = _Once(lambda: references.spice.score(tokens, heard))
        self._similarity = _Once(lambda: references.fense.similarity(best))
        self._error_probability = _Once(lambda: references.fense.error_probability(best))

    def scores(self, metric: str, weights: Floats) -> tuple[Floats, float, Floats]:
        """Return a metric per clip, of the whole set, and of every resample that `weights` describes."""
        if metric in BLEU:
            order, bleu = BLEU.index(metric), self._bleu.get()
            return bleu.per_clip()[:, order], float(bleu.corpus()[order]), bleu.corpus(weights)[:, order]
        if metric == "meteor":
            meteor = self.meteor.get()
            return meteor.per_clip(), float(meteor.corpus()), meteor.corpus(weights)
        values = self._per_clip(metric)
        return values, float(values.mean()), weights @ values / values.size

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


def _by_clip(texts: Texts) -> dict[str, tuple[str, ...]]:
    if isinstance(texts, str):
        raise UsageError(
            "Captions come as a list with one entry for each clip, or by id; one text is neither."
        )
    pairs = (
        texts.items() if isinstance(texts, Mapping) else zip(map(str, range(len(texts))), texts, strict=True)
    )
    return {clip: (text,) if isinstance(text, str) else tuple(text) for clip, text in pairs}


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


def _some(clips: Sequence[str]) -> str:
    shown = ", ".join(map(repr, clips[:3])) + (f" and {len(clips) - 3} more" if len(clips) > 3 else "")
    return f"{shown} {'has' if len(clips) == 1 else 'have'}"
