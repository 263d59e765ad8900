"""Calibration: the five numbers that turn an encoder's logits into evidence for labels.

Fitted on the validation recordings that come from AudioCaps, whose labels are those that raters ticked and
those that their captions speak of. Five numbers for 51 x 521 decisions: `evaluate` shows what fitting them on
other clips than the scored ones changes.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from otoscribe.learn.adapters.label_set import CLASSES, LabelSet

STEPS = 200


def fit(adapter: LabelSet, logits: Sequence[Tensor], labels: Sequence[tuple[int, ...]]) -> float:
    """Set the adapter's coefficients and intercept by maximum likelihood; its class prior must be set.

    Args:
        adapter: is changed.
        logits: of each clip, [frames, 521].
        labels: that hold for each clip.

    Returns:
        The fit's nats per clip.
    """
    features = torch.stack(
        [adapter.calibration_features(clip[None], _all(clip))[0] for clip in logits]
    ).double()
    targets = torch.zeros(len(labels), CLASSES, dtype=torch.float64)
    for row, held in enumerate(labels):
        targets[row, list(held)] = 1.0
    weights = torch.zeros(features.shape[-1] + 1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        posterior = features @ weights[:-1] + weights[-1]
        nats = F.binary_cross_entropy_with_logits(posterior, targets, reduction="sum") / len(labels)
        nats.backward()  # type: ignore[no-untyped-call]
        return nats

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    adapter.coefficients.copy_(weights[:-1].detach())
    adapter.intercept.copy_(weights[-1].detach())
    return float(loss().detach())


def _all(clip: Tensor) -> Tensor:
    return torch.ones(1, len(clip), dtype=torch.bool)
