"""The adapter that changes nothing: the decoder attends to the encoder's output itself."""

from typing import Literal

from torch import Tensor

from otoscribe.model.adapters.base import Adapter, AdapterOutput, AdapterSettings


class IdentitySettings(AdapterSettings):
    """Nothing to set."""

    name: Literal["identity"] = "identity"


class Identity(Adapter):
    """Memory is the features; the first cross-attention takes the encoder's width."""

    Settings = IdentitySettings

    def __init__(self, settings: IdentitySettings, width: int) -> None:
        super().__init__(settings, width)
        self.width = width

    def forward(self, features: Tensor, mask: Tensor | None) -> AdapterOutput:
        """Return features and mask as they are."""
        return AdapterOutput(features, mask)
