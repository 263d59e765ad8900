"""Multi-head attention and sinusoidal positions of adapters and decoder (Vaswani et al., 2017)."""

import math

import torch
from torch import Tensor, nn

from otoscribe.model.packing import Packing


def sinusoidal_positions(
    length: int, width: int, first: int = 0, device: torch.device | None = None
) -> Tensor:
    """Return the sinusoids of positions `first` to `first + length - 1`, [length, width], in [-1, 1].

    Even columns hold sines, odd ones cosines, of angles position / 10000^(column / width).
    """
    column = torch.arange(0, width, 2, dtype=torch.float32, device=device)
    position = torch.arange(first, first + length, device=device).to(torch.float32)
    angles = position[:, None] * torch.exp(column * (-math.log(10000.0) / width))
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width]


class MultiHeadAttention(nn.Module):
    """Attention with `heads` heads of `head_dim` each, whatever the widths of queries and memory.

    It equals `torch.nn.MultiheadAttention` where heads x head_dim is the query width, and is
    initialised the same way. Attention weights are not dropped out: dropout belongs to the caller's
    residual branch.
    """

    def __init__(self, query_width: int, memory_width: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.head_dim = head_dim
        inner = heads * head_dim
        self.query = nn.Linear(query_width, inner)
        self.key = nn.Linear(memory_width, inner)
        self.value = nn.Linear(memory_width, inner)
        self.output = nn.Linear(inner, query_width)
        for projection in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)
        nn.init.zeros_(self.output.bias)

    def keys_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Project [..., places, memory_width] to keys and values, each [..., heads, places, head_dim]."""
        return self._split(self.key(memory)), self._split(self.value(memory))

    def attend_packed_words(self, words: Tensor, packing: Packing) -> Tensor:
        """Attend with each word of packed captions over itself and those before it, [tokens, query_width]."""
        parts = (self._scaled(words), self.key(words), self.value(words))
        mixed = []
        for shape, *block in zip(
            packing.shapes, *(part.split(packing.blocks) for part in parts), strict=True
        ):
            queries, keys, values = (self._split(part.reshape(*shape, -1)) for part in block)
            time = shape[1]
            earlier = torch.ones(time, time, dtype=torch.bool, device=words.device).tril()
            mixed.append(self._mix(queries, keys, values, earlier).flatten(end_dim=1))
        return self.output(torch.cat(mixed))  # type: ignore[no-any-return]

    def attend_packed_memory(
        self, words: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, packing: Packing
    ) -> Tensor:
        """Attend with each word of packed captions over its clip's memory, [tokens, query_width].

        All words of a clip are one row of queries, so that its memory is not copied for each caption.

        Args:
            words: [tokens, query_width].
            keys: [clips, heads, places, head_dim].
            values: as `keys`.
            mask: bool, broadcastable to [clips, heads, time, places]; None allows all.
            packing: of the words.
        """
        scaled = self._scaled(words)
        rows = scaled.new_zeros(len(keys) * packing.most, scaled.shape[1])
        rows = rows.index_copy(0, packing.slots, scaled).reshape(len(keys), packing.most, -1)
        mixed = self._mix(self._split(rows), keys, values, mask)
        # index_select rather than indexing: its gradient is summed in a fixed order on any thread count.
        return self.output(mixed.flatten(end_dim=1).index_select(0, packing.slots))  # type: ignore[no-any-return]

    def attend_newest(self, newest: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Attend with the newest word of every beam over itself and those before it.

        Args:
            newest: [clips * beam, query_width].
            keys: of the words before, [clips, beam, heads, past, head_dim].
            values: as `keys`.

        Returns:
            What was attended to, [clips * beam, query_width], and keys and values with the newest word's.
        """
        apart = (*keys.shape[:3], 1, self.head_dim)
        keys = torch.cat([keys, self.key(newest).reshape(apart)], dim=3)
        values = torch.cat([values, self.value(newest).reshape(apart)], dim=3)
        weights = (self._scaled(newest).reshape(apart) @ keys.transpose(-2, -1)).softmax(dim=-1)
        mixed = (weights @ values).reshape(newest.shape[0], self.heads * self.head_dim)
        return self.output(mixed), keys, values

    def attend_shared(
        self, queries: Tensor, keys: Tensor, values: Tensor, unheard: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Attend with one query of every beam over the memory that a clip's beams share.

        Args:
            queries: [clips * beam, query_width].
            keys: [clips, heads, head_dim, places].
            values: [clips, heads, places, head_dim].
            unheard: 0 where a place may be attended to, -inf elsewhere, [clips, 1, 1, places].

        Returns:
            What was attended to, [clips * beam, query_width], and the weights, [clips, heads, beam, places].
        """
        apart = self._scaled(queries).reshape(keys.shape[0], -1, self.heads, self.head_dim)
        # The beams of a clip share its memory, so here they take the place of time.
        weights = (apart.transpose(1, 2) @ keys + unheard).softmax(dim=-1)
        mixed = (weights @ values).transpose(1, 2).reshape(queries.shape[0], self.heads * self.head_dim)
        return self.output(mixed), weights

    def forward(self, queries: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend with queries [clips, time, query_width] over memory [clips, places, memory_width].

        `mask` is bool [clips, places], True for real places; None means nothing is padded.
        """
        keys, values = self.keys_values(memory)
        allowed = None if mask is None else mask[:, None, None, :]
        mixed = self._mix(self._split(self._scaled(queries)), keys, values, allowed)
        return self.output(mixed)  # type: ignore[no-any-return]

    def _scaled(self, queries: Tensor) -> Tensor:
        return self.query(queries) * self.head_dim**-0.5  # type: ignore[no-any-return]

    def _mix(self, scaled: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Return the mixture of values for split queries, [..., time, heads * head_dim]."""
        # Written out: the fused kernels gain nothing at these lengths and export only four dimensions.
        scores = scaled @ keys.transpose(-2, -1)  # [..., heads, time, places]
        if mask is not None:
            scores = scores.masked_fill(~mask, -math.inf)
        weights = scores.softmax(dim=-1)
        return (weights @ values).transpose(-3, -2).flatten(-2)

    def _split(self, projected: Tensor) -> Tensor:
        apart = projected.reshape(
            *projected.shape[:-1], self.heads, self.head_dim
        )  # [..., time, heads, head_dim]
        return apart.transpose(-3, -2)  # [..., heads, time, head_dim]


class EncoderLayer(nn.Module):
    """A Transformer encoder layer: attention of all positions to each other, then feed-forward.

    It equals `torch.nn.TransformerEncoderLayer(norm_first=False)` where heads x head_dim is the width.
    """

    def __init__(self, width: int, heads: int, head_dim: int, ff: int, dropout: float) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(width, width, heads, head_dim)
        self.attention_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, ff), nn.ReLU(), nn.Dropout(dropout), nn.Linear(ff, width)
        )
        self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return [batch, frames, width] of the same; `mask` is bool [batch, frames], True for real frames."""
        x = self.attention_norm(x + self.dropout(self.attention(x, x, mask)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))  # type: ignore[no-any-return]
