"""Captions and references → BLEU, ROUGE-L, CIDEr-D, METEOR, SPICE, SPIDEr and FENSE.

>>> from otoscribe.metrics import Scorer
>>> scorer = Scorer([["A dog barks.", "A dog is barking"], ["Rain falls."]], ["bleu_1", "cider_d"])
>>> scores = scorer.score(["a dog barks", "birds sing"])
>>> round(scores.corpus["bleu_1"].value, 3)
0.6
"""

from otoscribe.metrics.evaluation import METRICS
from otoscribe.metrics.scorer import Scorer, Scores
from otoscribe.metrics.statistics import Estimate, Statistics

__all__ = ["METRICS", "Estimate", "Scorer", "Scores", "Statistics"]
