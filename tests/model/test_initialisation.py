"""What the weights are before training: from which distribution every one of them is drawn.

A new weight fails here until the table below says how it begins.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from otoscribe.model.caption_model import CaptionModel, ModelSettings
from otoscribe.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_captions([" ".join(f"word{number}" for number in range(400))])
MODEL: dict[str, Any] = {
    "encoder": {"name": "yamnet", "output": "embeddings"},
    "adapter": {"name": "identity"},
    "words": {"name": "random", "width": 40, "spread": 0.7},
    "decoder": {"d_model": 48, "heads": 4, "head_dim": 24, "blocks": 2, "ff": 96},
}
EVIDENCE = {
    "encoder": {"name": "yamnet_voice", "output": "hearing"},
    "adapter": {
        "name": "evidence",
        "d_model": 64,
        "heads": 4,
        "head_dim": 16,
        "ff": 96,
        "styles": [*"abcdefghijklmnopqrstuvwxyz"],
    },
}
MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"adapter": {"name": "mlp", "hidden": 64}},
    "attention": {"adapter": {"name": "attention", "d_model": 64, "heads": 4, "head_dim": 32, "ff": 96}},
    "evidence": EVIDENCE,
    "tied": {
        "words": {"name": "random", "width": 48, "spread": 0.7},
        "decoder": {**MODEL["decoder"], "tied": True},
    },
}

FIRST = {
    r".*norm\.weight": ("constant", lambda weight: 1.0),
    r".*norm\.bias|decoder\.bias|.*\.(query|key|value|output)\.bias": ("constant", lambda weight: 0.0),
    # Glorot and Bengio (2010), as PyTorch's attention.
    r".*\.(query|key|value)\.weight": ("uniform", lambda weight: (6 / sum(weight.shape)) ** 0.5),
    r"decoder\.classifier": ("uniform", lambda weight: weight.shape[1] ** -0.5),
    r"words\.vectors": ("normal", lambda weight: 0.7),
    r"adapter\.classes\.weight": ("normal", lambda weight: 0.3),
    r"adapter\.(ranks|ways)\.weight": ("normal", lambda weight: 0.1),
    # What PyTorch gives a linear layer, whose bias stands beside its weight.
    r".*\.(output|enter|reduction|(layers|feed_forward|details|voices|overview)\.\d)\.weight": (
        "uniform",
        lambda weight: weight.shape[1] ** -0.5,
    ),
}
"""By the weight's name: the distribution, and its value, its bound, or its standard deviation."""
LINEAR_BIAS = re.compile(r".*\.(enter|reduction|(layers|feed_forward|details|voices|overview)\.\d)\.bias")


def model(changes: dict[str, Any]) -> CaptionModel:
    torch.manual_seed(0)
    return CaptionModel(ModelSettings.model_validate_json(json.dumps(MODEL | changes)), VOCABULARY)


@pytest.fixture(scope="module", params=list(MODELS))
def weights(request: pytest.FixtureRequest) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in model(MODELS[request.param]).named_parameters()}


def expected(name: str, weights: dict[str, Tensor]) -> tuple[str, float]:
    if LINEAR_BIAS.fullmatch(name):
        return "uniform", weights[name.replace(".bias", ".weight")].shape[1] ** -0.5
    [(kind, number)] = [entry for pattern, entry in FIRST.items() if re.fullmatch(pattern, name)]
    return kind, number(weights[name])


def test_every_weight_is_drawn_from_its_distribution(weights: dict[str, Tensor]) -> None:
    for name, weight in weights.items():
        kind, number = expected(name, weights)
        # As many standard errors as a correct weight exceeds once in a million.
        error = 5 / weight.numel() ** 0.5
        if kind == "constant":
            assert (weight == number).all(), name
        elif kind == "uniform":
            assert weight.abs().max() <= number, name
            assert weight.abs().max() > number * (1 - 14 / weight.numel()), name
            assert abs(weight.mean()) < error * number / 3**0.5, name
            assert abs(weight.square().mean() / (number**2 / 3) - 1) < error * 0.8**0.5, name
        else:
            assert abs(weight.mean()) < error * number, name
            assert abs(weight.square().mean() / number**2 - 1) < error * 2**0.5, name
            assert abs((weight.abs() < number).float().mean() - 0.6827) < error * 0.4655, name


def alike(weights: dict[str, Tensor]) -> Iterator[tuple[str, str]]:
    """Yield the pairs of weights that were drawn, but are the same."""
    drawn = [(name, weight) for name, weight in weights.items() if weight.unique().numel() > 1]
    for index, (name, weight) in enumerate(drawn):
        yield from (
            (name, other)
            for other, another in drawn[index + 1 :]
            if weight.shape == another.shape and torch.equal(weight, another)
        )


def test_no_two_weights_are_drawn_alike(weights: dict[str, Tensor]) -> None:
    assert not list(alike(weights))


def test_the_seed_decides_the_weights() -> None:
    first, same = model(MODELS["attention"]).state_dict(), model(MODELS["attention"]).state_dict()
    assert all(torch.equal(weight, same[name]) for name, weight in first.items())
