"""Captions and references → every metric, per clip and for the whole set, with intervals."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from otoscribe.errors import MetricError, UsageError, unknown_name
from otoscribe.metrics.evaluation import METRICS, Evaluation, References
from otoscribe.metrics.ngrams import Floats
from otoscribe.metrics.statistics import Estimate, Statistics, interval
from otoscribe.progress import Progress

T = TypeVar("T")
Texts = Mapping[str, str | Iterable[str]] | Iterable[str | Iterable[str]]
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

    def __getitem__(self, metric: str) -> Estimate:
        """Return a metric of the whole set.

        Raises:
            MetricError: it could not be computed; the error says why.
            UsageError: it was not asked for.
        """
        if metric in self.missing:
            raise MetricError(f"There is no {metric}. {self.missing[metric]}")
        if metric not in self.corpus:
            raise unknown_name("score", metric, self.corpus)
        return self.corpus[metric]


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
        UsageError: there is no clip, a clip has no reference, a caption is no text, or no metric has such a
            name.
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
        if isinstance(metrics, str) or self._metrics == ():
            raise UsageError(f"Metrics come as a list of one name or more, not {metrics!r:.60}.")
        for name in self._metrics or ():
            if name not in METRICS:
                raise unknown_name("metric", name, METRICS)
        self._metrics = self._metrics and tuple(name for name in METRICS if name in self._metrics)
        self._by_id = isinstance(references, Mapping)
        texts = _by_clip(references)
        if not texts or not all(texts.values()):
            raise UsageError("Scores need at least one clip, and at least one reference for each clip.")
        self._references = References(texts, threads, progress)

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
            UsageError: the references have ids and the candidates do not, or the other way round; or a
                caption is no text.
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
            evaluation = Evaluation(self._references, texts)
            if "meteor" in wanted:
                # Its program reads for seconds before the first answer; meanwhile SPICE parses.
                evaluation.meteor.begin(beside)
            try:
                for name in sorted(wanted, key="meteor".__eq__):  # last, or SPICE would wait for it
                    try:
                        per_clip[name], value, resampled = evaluation.scores(name)
                    except MetricError as error:
                        missing[name] = str(error)
                    else:
                        corpus[name] = Estimate(value, *interval(resampled))
            except (KeyboardInterrupt, SystemExit):
                # Who interrupts does not want to wait for METEOR.
                self.close()
                raise
        statistics = self._references.describer.describe(evaluation.best)
        return Scores(tuple(texts), _ordered(corpus), _ordered(per_clip), _ordered(missing), statistics)

    def _matched(self, candidates: Texts) -> dict[str, tuple[str, ...]]:
        """Return the candidates in the order of the references."""
        if isinstance(candidates, Mapping) != self._by_id:
            raise UsageError("Give references and candidates alike: both by id, or both in the same order.")
        texts, clips = _by_clip(candidates), self._references.texts
        if not self._by_id and len(texts) != len(clips):
            raise MetricError(f"There are {len(texts)} candidates for {len(clips)} clips; give one each.")
        if texts.keys().isdisjoint(clips):
            ours, theirs = next(iter(texts), "nothing"), next(iter(clips))
            raise MetricError(
                f"No candidate is about a clip of the references: candidates are named like {ours!r}, "
                f"references like {theirs!r}."
            )
        without = [clip for clip in clips if not texts.get(clip)]
        if without:
            raise MetricError(f"{_some(without)} no candidate: add a caption, or remove the references.")
        unknown = [clip for clip in texts if clip not in clips]
        if unknown:
            raise MetricError(f"{_some(unknown)} no reference: add some, or remove the candidates.")
        return {clip: texts[clip] for clip in clips}


def _by_clip(texts: Texts) -> dict[str, tuple[str, ...]]:
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise UsageError(
            f"Captions come as a list with one entry for each clip, or by id; {texts!r:.60} is neither."
        )
    pairs = (
        texts.items()
        if isinstance(texts, Mapping)
        else ((str(clip), text) for clip, text in enumerate(texts))
    )
    return {clip: _captions(clip, text) for clip, text in pairs}


def _captions(clip: str, texts: str | Iterable[str]) -> tuple[str, ...]:
    captions = tuple(texts) if isinstance(texts, Iterable) and not isinstance(texts, str) else (texts,)
    for caption in captions:
        # Tables give None or NaN for what is not there, which is not what an empty caption is.
        if not isinstance(caption, str):
            raise UsageError(
                f"A caption of {clip!r} is {caption!r:.60}, and not a text. Write '' for an empty one."
            )
    return captions


def _ordered(by_metric: dict[str, T]) -> dict[str, T]:
    return {name: by_metric[name] for name in METRICS if name in by_metric}


def _some(clips: Sequence[str]) -> str:
    shown = ", ".join(map(repr, clips[:3])) + (f" and {len(clips) - 3} more" if len(clips) > 3 else "")
    return f"{shown} {'has' if len(clips) == 1 else 'have'}"
