"""What tests of every encoder share."""

from collections.abc import Iterator

import pytest
from torch import Tensor, nn

from otoscribe.model.encoders import base

LARGE = ("openl3", "vggish")
"""Encoders that take long to compute, or whose many weights take long to make."""


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in base.ENCODERS],
)
def name(request: pytest.FixtureRequest) -> str:
    """Return the name of each encoder."""
    return str(request.param)


@pytest.fixture(scope="session", autouse=True)
def formula_weights_once() -> Iterator[None]:
    """Compute weights by the formula once for all tests, as VGGish's take seconds; loading copies them."""
    compute, kept = base.formula_state, {}

    def formula_state(module: nn.Module) -> dict[str, Tensor]:
        shapes = tuple((name, tuple(value.shape)) for name, value in module.state_dict().items())
        if shapes not in kept:
            kept[shapes] = compute(module)
        return dict(kept[shapes])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "formula_state", formula_state)
        yield
