"""Scores of studies that never ran, with effects that are known because they were put there."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

from otoscribe.study.scores import Score, ScoreTable

ENCODERS = ("coala", "openl3", "vggish", "yamnet")
ADAPTERS = ("identity", "mlp", "attention")
WORDS = ("random", "cbow", "word2vec", "glove", "fasttext")
PAPER_AXES = ("encoder", "overlap", "adapter", "words", "tuned")
PAPER_GRID = [
    (encoder, overlap, adapter, words, tuned)
    for encoder, overlap, adapter in product(ENCODERS, ("0.0", "0.5"), ADAPTERS)
    for words, tuned in [*product(WORDS, ("false", "true")), ("bert", "false")]
]
"""The 264 settings of Weck et al. (2021)."""


def made_up_scores(
    settings: Sequence[tuple[str, ...]],
    axes: tuple[str, ...],
    effects: Mapping[str, float],
    seeds: int = 3,
    seed: int = 0,
    metric: str = "spider",
    made_up: Sequence[str] = (),
) -> ScoreTable:
    """Score every setting: 0.15, the effects of its values, and noise of the setting and of the run.

    Args:
        settings: their values by axis.
        axes: their names.
        effects: by value, or by several values that a setting has together, as "yamnet 0.5".
        seeds: runs of each setting.
        seed: of the noise.
        metric: its name.
        made_up: values with which a run counts as one of made-up weights.
    """
    noise = np.random.default_rng(seed)
    scores = []
    for setting in settings:
        effect = sum(more for name, more in effects.items() if set(name.split()) <= set(setting))
        mean = 0.15 + effect + noise.normal(0, 0.002)
        for run in range(seeds):
            value = float(mean + noise.normal(0, 0.004))
            scores.append(Score(setting, run, value, bool(set(setting) & set(made_up))))
    return ScoreTable(axes, metric, tuple(scores))


def paper_scores(effects: Mapping[str, float] | None = None, seeds: int = 3) -> ScoreTable:
    """Score the paper's grid."""
    return made_up_scores(PAPER_GRID, PAPER_AXES, effects or {}, seeds)
