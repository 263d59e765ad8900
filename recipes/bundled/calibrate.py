"""Calibration: the five numbers that turn an encoder's logits into evidence for labels.

Fitted on the recordings that raters labelled, those from AudioCaps' training and validation splits: their
labels are those that raters ticked and those that their captions speak of. Five numbers for tens of clips
x 521 decisions: `evaluate` shows what fitting them on other clips than the scored ones changes.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from otoscribe.model.adapters.label_set import CLASSES, LIMIT, LabelSet
from recipes.bundled import corpus, examples
from recipes.bundled.corpus import Clip, Pair
from recipes.bundled.lexicon import Lexicon

STEPS = 200


def fit(adapter: LabelSet, features: Sequence[Tensor], held: Sequence[tuple[int, ...]]) -> float:
    """Set the adapter's coefficients and intercept by maximum likelihood; its class prior must be set.

    Args:
        adapter: is changed.
        features: the encoder's output for each clip, [frames, width], logits first.
        held: labels that hold for each clip.

    Returns:
        The fit's nats per clip.
    """
    inputs = torch.stack([_features(adapter, clip) for clip in features]).double()
    targets = torch.zeros(len(held), CLASSES, dtype=torch.float64)
    for row, true in enumerate(held):
        targets[row, list(true)] = 1.0
    weights = torch.zeros(inputs.shape[-1] + 1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        posterior = inputs @ weights[:-1] + weights[-1]
        nats = F.binary_cross_entropy_with_logits(posterior, targets, reduction="sum") / len(held)
        nats.backward()  # type: ignore[no-untyped-call]
        return nats

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    adapter.coefficients.copy_(weights[:-1].detach())
    adapter.intercept.copy_(weights[-1].detach())
    return float(loss().detach())


def _features(adapter: LabelSet, features: Tensor) -> Tensor:
    logits = features[None, :, :CLASSES].clamp(-LIMIT, LIMIT)
    return adapter.calibration_features(logits, torch.ones_like(logits[..., 0], dtype=torch.bool))[0]


def labels(
    data: Path, recordings: Sequence[Pair], classes: dict[str, int], lexicon: Lexicon
) -> dict[int, tuple[int, ...]]:
    """Return the labels that hold for the recordings that raters labelled, by their index."""
    ticked = corpus.ticked(data)
    held = {}
    for index, pair in enumerate(recordings):
        if pair.clip_id in ticked:
            clip = Clip(pair.clip_id, pair.captions, ticked[pair.clip_id])
            every = [example.labels for example in examples.make([clip], classes, lexicon, 0)]
            held[index] = tuple(sorted(set().union(*every)))
    return held


def crossed(
    adapter: LabelSet,
    features: Sequence[Tensor],
    held: dict[int, tuple[int, ...]],
    caption: Callable[[Sequence[Tensor]], list[str]],
) -> list[str]:
    """Caption every recording with a calibration fitted on others: two halves, each scored by the other."""
    kept = adapter.coefficients.clone(), adapter.intercept.clone()
    texts = [""] * len(features)
    for half in (0, 1):
        fitted = [index for index in held if index % 2 != half]
        fit(adapter, [features[index] for index in fitted], [held[index] for index in fitted])
        scored = [index for index in range(len(features)) if index % 2 == half]
        for index, text in zip(scored, caption([features[index] for index in scored]), strict=True):
            texts[index] = text
    adapter.coefficients.copy_(kept[0])
    adapter.intercept.copy_(kept[1])
    return texts
