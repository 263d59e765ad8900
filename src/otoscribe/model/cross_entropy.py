"""Scores of all words and their cross-entropy at once, some tokens at a time, so that few scores exist."""

from typing import Any

import torch
from torch import Tensor

SCORES = 2**20
"""Scores that exist at once: 4 MB, which stay in the processor's cache from the product to the gradient."""


def cross_entropy(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """Return the cross-entropy of `hidden @ weight.T + bias` with targets, summed, in float32.

    It equals `torch.nn.functional.cross_entropy` with `reduction="sum"`, but computes the gradient along with
    the value, from the same scores, instead of keeping all of them for the way back.

    Args:
        hidden: [tokens, width].
        weight: of the classifier, [vocabulary, width].
        bias: [vocabulary].
        targets: int64 [tokens].
        smoothing: share of a target's probability that is spread over all words.
    """
    found: Tensor = _CrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, targets, smoothing
    )
    return found


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float
    ) -> Tensor:
        device = hidden.device.type
        # What autocasting would do, written out: it does not reach products that add to a tensor in place.
        narrow = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
        with torch.autocast(device, enabled=False):
            return _forward(context, hidden, weight, bias, targets, smoothing, narrow)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        of_hidden, of_weight, of_bias = context.saved_tensors
        return of_hidden * gradient, of_weight * gradient, of_bias * gradient, None, None


def _forward(
    context: Any,
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    smoothing: float,
    narrow: torch.dtype,
) -> Tensor:
    learns = any(context.needs_input_grad)
    weights, words = weight.to(narrow), len(weight)
    total = torch.zeros((), device=hidden.device)
    of_hidden = torch.empty_like(hidden) if learns else None
    of_weight, of_bias = torch.zeros_like(weight), torch.zeros_like(bias)
    size = max(1, SCORES // words)
    for first in range(0, len(hidden), size):
        states = hidden[first : first + size].to(narrow)
        wanted = targets[first : first + size, None]
        scores = torch.addmm(bias.to(narrow), states, weights.T).float()
        largest = scores.amax(dim=1, keepdim=True)
        right = scores.gather(1, wanted)
        mean = scores.mean(dim=1, keepdim=True) if smoothing else 0.0
        powers = scores.sub_(largest).exp_()
        sums = powers.sum(dim=1, keepdim=True)
        total += (sums.log() + largest - (1.0 - smoothing) * right - smoothing * mean).sum()
        if of_hidden is None:
            continue
        of_scores = powers.div_(sums)  # the probabilities
        if smoothing:
            of_scores.sub_(smoothing / words)
        of_scores.scatter_add_(1, wanted, torch.full_like(right, smoothing - 1.0))
        of_bias += of_scores.sum(dim=0)
        of_scores = of_scores.to(narrow)
        of_hidden[first : first + size] = of_scores @ weights
        if narrow == weight.dtype:
            of_weight.addmm_(of_scores.T, states)
        else:
            of_weight += of_scores.T @ states
    if of_hidden is not None:
        context.save_for_backward(of_hidden, of_weight, of_bias)
    return total
