"""The adapter of two linear layers, the same for every frame (Weck et al., 2021, the MLP adapter)."""

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from otoscribe import settings
from otoscribe.model.adapters.base import ADAPTERS, Adapter


@ADAPTERS.register("mlp")
class Mlp(Adapter):
    """Linear, ReLU, linear, shared over time."""

    class Settings(settings.Settings):
        """Size of the perceptron."""

        name: Literal["mlp"] = "mlp"
        hidden: int = Field(default=256, gt=0)
        """Units of both layers, and so the memory's width."""

    def __init__(self, settings: Settings, width: int) -> None:
        super().__init__(settings, width)
        self.width = settings.hidden
        self.layers = nn.Sequential(
            nn.Linear(width, settings.hidden), nn.ReLU(), nn.Linear(settings.hidden, settings.hidden)
        )

    def forward(self, features: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the layers' output for every frame, and the mask as it is."""
        return self.layers(features), mask
