"""The adapter of two linear layers, the same for every frame (Weck et al., 2021, the MLP adapter)."""

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from otoscribe.model.adapters.base import Adapter, AdapterOutput, AdapterSettings


class MlpSettings(AdapterSettings):
    """Size of the perceptron."""

    name: Literal["mlp"] = "mlp"
    hidden: int = Field(default=256, gt=0)
    """Units of both layers, and so the memory's width."""


class Mlp(Adapter):
    """Linear, ReLU, linear, shared over time."""

    Settings = MlpSettings

    def __init__(self, settings: MlpSettings, width: int) -> None:
        super().__init__(settings, width)
        self.width = settings.hidden
        self.layers = nn.Sequential(
            nn.Linear(width, settings.hidden), nn.ReLU(), nn.Linear(settings.hidden, settings.hidden)
        )

    def forward(self, features: Tensor, mask: Tensor | None) -> AdapterOutput:
        """Return the layers' output for every frame, and the mask as it is."""
        return AdapterOutput(self.layers(features), mask)
