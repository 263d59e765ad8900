"""Metrics of a study's own: captions and references → one number, of which more is better."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from otoscribe.registry import Registry


class Metric(ABC):
    """Interface of a metric that is none of otoscribe's; a study names it as MODULE:CLASS."""

    @abstractmethod
    def score(self, candidates: Mapping[str, str], references: Mapping[str, tuple[str, ...]]) -> float:
        """Score the captions of a split.

        Args:
            candidates: the caption of each clip, by its name.
            references: what people wrote about each, at least one text, by the same names.
        """


OWN: Registry[Metric] = Registry("metric", Metric, __package__)
