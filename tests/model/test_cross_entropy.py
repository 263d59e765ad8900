"""Scores and cross-entropy at once: equal to PyTorch's own, value and gradients."""

import pytest
import torch
from torch import Tensor, nn

from otoscribe.model import cross_entropy as module
from otoscribe.model.cross_entropy import cross_entropy

WORDS, WIDTH = 23, 6


def made(tokens: int) -> tuple[list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(tokens, WIDTH), (WORDS, WIDTH), (WORDS,)]
    parts = [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]
    return parts, torch.randint(WORDS, (tokens,), generator=generator)


@pytest.mark.parametrize("together", [1, WORDS, 3 * WORDS, 2**20])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("tokens", [1, 7])
def test_it_equals_that_of_all_scores(
    monkeypatch: pytest.MonkeyPatch, together: int, smoothing: float, tokens: int
) -> None:
    monkeypatch.setattr(module, "SCORES", together)
    (hidden, weight, bias), targets = made(tokens)
    scores = nn.functional.linear(hidden, weight, bias)
    expected = nn.functional.cross_entropy(scores, targets, reduction="sum", label_smoothing=smoothing)
    found = cross_entropy(hidden, weight, bias, targets, smoothing)
    torch.testing.assert_close(found, expected)
    for one, other in zip(
        torch.autograd.grad(2 * found, (hidden, weight, bias)),
        torch.autograd.grad(2 * expected, (hidden, weight, bias)),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_large_scores_overflow_nothing() -> None:
    (hidden, weight, bias), targets = made(5)
    found = cross_entropy(hidden * 1e4, weight, bias, targets, 0.0)
    expected = nn.functional.cross_entropy(1e4 * hidden @ weight.T + bias, targets, reduction="sum")
    torch.testing.assert_close(found, expected)


def test_without_gradients_none_are_computed() -> None:
    (hidden, weight, bias), targets = made(4)
    with torch.inference_mode():
        found = cross_entropy(hidden, weight, bias, targets, 0.0)
    torch.testing.assert_close(found, cross_entropy(hidden, weight, bias, targets, 0.0).detach())


def test_narrow_products_round_and_keep_their_gradients() -> None:
    (hidden, weight, bias), targets = made(7)
    exact = cross_entropy(hidden, weight, bias, targets, 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        narrow = cross_entropy(hidden, weight, bias, targets, 0.1)
    assert narrow.dtype == torch.float32
    assert 0 < (narrow - exact).detach().abs() < 0.02 * exact.detach()
    for one, other in zip(
        torch.autograd.grad(narrow, (hidden, weight, bias)),
        torch.autograd.grad(exact, (hidden, weight, bias)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=0.1, atol=0.05)
