"""The adapter in which frames attend to each other (Weck et al., 2021, the MHA adapter)."""

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from otoscribe.model.adapters.base import Adapter, AdapterOutput, AdapterSettings
from otoscribe.model.attention import EncoderLayer, sinusoidal_positions


class AttentionSettings(AdapterSettings):
    """Shape of the layer; the paper's four heads of 128."""

    name: Literal["attention"] = "attention"
    d_model: int = Field(default=512, gt=0)
    """Width that features are reduced to, and so the memory's width."""
    heads: int = Field(default=4, gt=0)
    """Attention heads."""
    head_dim: int = Field(default=128, gt=0)
    """Width of one head."""
    ff: int = Field(default=2048, gt=0)
    """Inner width of the feed-forward layer; PyTorch's default, as the paper states none."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Chance in training of dropping an element of a residual branch's output."""
    positions: bool = True
    """Add sinusoidal positions, so that the memory knows the order of what was heard."""


class Attention(Adapter):
    """Linear reduction, sinusoidal positions, one Transformer encoder layer."""

    Settings = AttentionSettings
    quadratic = True

    def __init__(self, settings: AttentionSettings, width: int) -> None:
        super().__init__(settings, width)
        self.width = settings.d_model
        self.positions = settings.positions
        self.reduction = nn.Linear(width, self.width)
        self.layer = EncoderLayer(
            self.width, settings.heads, settings.head_dim, settings.ff, settings.dropout
        )

    def forward(self, features: Tensor, mask: Tensor | None) -> AdapterOutput:
        """Return frames that have attended to the real frames of their clip, and the mask as it is."""
        x = self.reduction(features)  # [clips, frames, d_model]
        if self.positions:
            x = x + sinusoidal_positions(x.shape[1], self.width, device=x.device)
        return AdapterOutput(self.layer(x, mask), mask)
