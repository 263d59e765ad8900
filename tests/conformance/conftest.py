"""Weights by a formula, computed once for all the tests that load them: VGGish's take seconds."""

from collections.abc import Iterator

import pytest
from torch import Tensor, nn

from otoscribe.model.encoders import base


@pytest.fixture(scope="session", autouse=True)
def formula_weights_once() -> Iterator[None]:
    """Keep what the formula gives; loading copies it."""
    compute, kept = base.formula_state, {}

    def formula_state(module: nn.Module) -> dict[str, Tensor]:
        shapes = tuple((name, tuple(value.shape)) for name, value in module.state_dict().items())
        if shapes not in kept:
            kept[shapes] = compute(module)
        return dict(kept[shapes])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "formula_state", formula_state)
        yield
