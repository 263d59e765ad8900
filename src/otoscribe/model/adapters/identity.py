"""The adapter that changes nothing: the decoder attends to the encoder's output itself."""

from typing import Literal

from torch import Tensor

from otoscribe import settings
from otoscribe.model.adapters.base import ADAPTERS, Adapter


@ADAPTERS.register("identity")
class Identity(Adapter):
    """Memory is the features; the first cross-attention takes the encoder's width."""

    class Settings(settings.Settings):
        """Nothing to set."""

        name: Literal["identity"] = "identity"

    def __init__(self, settings: Settings, width: int) -> None:
        super().__init__(settings, width)
        self.width = width

    def forward(self, features: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return features and mask as they are."""
        return features, mask
