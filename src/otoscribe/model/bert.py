"""BERT (Devlin et al., 2019): word pieces → the states of its last layer but one.

The last layer is left out, as nothing here reads it. Equals `transformers.BertModel`, hidden state -2.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from otoscribe.model.attention import MultiHeadAttention


class BertSizes(NamedTuple):
    """What the weights alone do not say."""

    heads: int
    """Attention heads of a layer."""
    epsilon: float
    """Guard of the layer normalisations against division by zero."""


class BertLayer(nn.Module):
    """Attention of all pieces to each other, then feed-forward."""

    def __init__(self, width: int, inner: int, sizes: BertSizes) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(width, width, sizes.heads, width // sizes.heads)
        self.attention_norm = nn.LayerNorm(width, sizes.epsilon)
        self.widen = nn.Linear(width, inner)
        self.narrow = nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width, sizes.epsilon)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return [rows, pieces, width] of the same; `mask` is bool [rows, pieces], True for real pieces."""
        x = self.attention_norm(x + self.attention(x, x, mask))
        inner = nn.functional.gelu(self.widen(x))
        return self.norm(x + self.narrow(inner))  # type: ignore[no-any-return]


class Bert(nn.Module):
    """The network of some weights, in evaluation mode and frozen.

    Args:
        state: its weights by name, as `vectors.bert_folder` gives them, which are not copied.
        sizes: what they do not say.
    """

    def __init__(self, state: Mapping[str, Tensor], sizes: BertSizes) -> None:
        super().__init__()
        pieces, width = state["pieces.weight"].shape
        inner = len(state["layers.0.widen.bias"])
        layers = sum(name.endswith(".widen.bias") for name in state)
        with torch.device("meta"):  # neither memory nor random numbers for weights that are replaced at once
            self.pieces = nn.Embedding(pieces, width)
            self.positions = nn.Embedding(len(state["positions.weight"]), width)
            self.norm = nn.LayerNorm(width, sizes.epsilon)
            self.layers = nn.ModuleList(BertLayer(width, inner, sizes) for _ in range(layers))
        self.load_state_dict(state, assign=True)
        self.eval().requires_grad_(False)

    def forward(self, pieces: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Return the states of texts.

        Args:
            pieces: int64 [rows, places], rows of the table of pieces, in any order.
            positions: int64 [rows, places], where in its text each piece stands, 0 first.
            mask: bool [rows, places], True for pieces of the text, in every row at least one.

        Returns:
            float32 [rows, places, width].
        """
        # Longer texts than it was trained on have no positions of their own at the end.
        places = positions.clamp(max=self.positions.num_embeddings - 1)
        x = self.norm(self.pieces(pieces) + self.positions(places))
        for layer in self.layers:
            x = layer(x, mask)
        return x  # type: ignore[no-any-return]
