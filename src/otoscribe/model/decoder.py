"""The Transformer decoder of Weck et al. (2021): words so far and memory in, scores of the next word out.

A block is self-attention over the words so far, then cross-attention over the memory, each "followed
by a linear layer and a layer normalisation" (the linear layer is the attention's output projection),
around residual connections. With `ff` > 0 a feed-forward layer follows, and the block is PyTorch's
`TransformerDecoderLayer(norm_first=False)`.
"""

import math
from collections.abc import Iterator

import torch
from pydantic import Field
from torch import Tensor, nn

from otoscribe.bundle.graphs import Cache
from otoscribe.errors import SettingsError
from otoscribe.model.attention import MultiHeadAttention, sinusoidal_positions
from otoscribe.model.cross_entropy import cross_entropy
from otoscribe.model.packing import Packing
from otoscribe.settings import Frozen


class DecoderSettings(Frozen):
    """Shape of the decoder; the defaults are the paper's, read literally."""

    d_model: int = Field(default=512, gt=0)
    """Width between the blocks."""
    heads: int = Field(default=4, gt=0)
    """Attention heads."""
    head_dim: int = Field(default=128, gt=0)
    """Width of one head."""
    ff: int = Field(default=0, ge=0)
    """Inner width of a block's feed-forward layer; 0 leaves the layer out, as the paper's blocks do."""
    blocks: int = Field(default=3, gt=0)
    """Number of blocks."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Chance in training of dropping an input or a residual branch's output."""
    positions: bool = True
    """Add sinusoidal positions to the words."""
    tied: bool = False
    """Score words by their embeddings instead of a matrix of their own; needs embeddings d_model wide, which
    are then multiplied by sqrt(d_model) where they enter (Vaswani et al., 2017, section 3.4)."""


class Block(nn.Module):
    """One decoder block over [..., time, d_model]; the parts are called by `Decoder`."""

    def __init__(self, settings: DecoderSettings, memory_width: int) -> None:
        super().__init__()
        width, heads, head_dim = settings.d_model, settings.heads, settings.head_dim
        self.self_attention = MultiHeadAttention(width, width, heads, head_dim)
        self.self_norm = nn.LayerNorm(width)
        self.cross_attention = MultiHeadAttention(width, memory_width, heads, head_dim)
        self.cross_norm = nn.LayerNorm(width)
        self.feed_forward: nn.Sequential | None = None
        if settings.ff:
            self.feed_forward = nn.Sequential(
                nn.Linear(width, settings.ff),
                nn.ReLU(),
                nn.Dropout(settings.dropout),
                nn.Linear(settings.ff, width),
            )
            self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(settings.dropout)

    def after_words(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add what the self-attention gave for x, [..., d_model]."""
        return self.self_norm(x + self.dropout(attended))  # type: ignore[no-any-return]

    def after_memory(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add what the cross-attention gave for x, [..., d_model], then feed-forward."""
        x = self.cross_norm(x + self.dropout(attended))
        if self.feed_forward is not None:
            x = self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))
        return x


class Decoder(nn.Module):
    """Blocks over embedded words, with the classifier that scores the next word.

    Args:
        settings: the shape.
        word_width: width W' of the word embeddings; other than d_model it is first mapped linearly.
        memory_width: width of the adapter's output, which the cross-attention takes as it is.
        vocabulary_size: number of words, specials included.

    Raises:
        SettingsError: output weights tied to word embeddings of another width than d_model.
    """

    def __init__(
        self, settings: DecoderSettings, word_width: int, memory_width: int, vocabulary_size: int
    ) -> None:
        super().__init__()
        self.settings = settings
        width = settings.d_model
        if settings.tied and word_width != width:
            raise SettingsError(
                f"tied needs word embeddings as wide as d_model; they are {word_width} and {width} wide. "
                f"Set the words' width to {width}, or tied to false."
            )
        self.enter = nn.Linear(word_width, width) if word_width != width else nn.Identity()
        self.dropout = nn.Dropout(settings.dropout)
        self.blocks = nn.ModuleList(Block(settings, memory_width) for _ in range(settings.blocks))
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))
        if not settings.tied:
            self.classifier = nn.Parameter(torch.empty(vocabulary_size, width))
            nn.init.uniform_(self.classifier, -(width**-0.5), width**-0.5)

    def forward(
        self,
        words: Tensor,
        memory_keys: Tensor,
        memory_values: Tensor,
        memory_mask: Tensor | None,
        packing: Packing,
    ) -> Tensor:
        """Decode whole captions, every position seeing only itself and the ones before it.

        Args:
            words: embedded words of packed captions, [tokens, word_width], START first.
            memory_keys: from `memory_cache`, [blocks, clips, places, heads, head_dim].
            memory_values: as `memory_keys`.
            memory_mask: bool [clips, places], True for real places; None means nothing is padded.
            packing: where the captions lie.

        Returns:
            Hidden states [tokens, d_model]; `logits` turns those at t into scores of word t + 1.
        """
        mask = None if memory_mask is None else memory_mask[:, None, None, :]
        longest = max(time for _, time in packing.shapes)
        positions = sinusoidal_positions(longest, self.settings.d_model, device=words.device)
        x = self._enter(words, positions[packing.positions])
        # Each [clips, heads, places, head_dim].
        memory = zip(memory_keys.transpose(2, 3), memory_values.transpose(2, 3), strict=True)
        for block, (keys, values) in zip(self._blocks(), memory, strict=True):
            x = block.after_words(x, block.self_attention.attend_packed_words(x, packing))
            attended = block.cross_attention.attend_packed_memory(x, keys, values, mask, packing)
            x = block.after_memory(x, attended)
        return x

    def logits(self, hidden: Tensor, table: Tensor | None) -> Tensor:
        """Score every word, [..., d_model] → [..., vocabulary].

        Args:
            hidden: from `forward` or `step`.
            table: the words' vectors, [vocabulary, d_model]; used, and needed, only when tied.
        """
        return nn.functional.linear(hidden, self._classifier(table), self.bias)

    def cross_entropy(
        self, hidden: Tensor, table: Tensor | None, targets: Tensor, smoothing: float
    ) -> Tensor:
        """Return the cross-entropy of `logits` with targets, summed; see `model.cross_entropy`.

        Args:
            hidden: [tokens, d_model].
            table: as for `logits`.
            targets: int64 [tokens].
            smoothing: share of a target's probability that is spread over all words.
        """
        return cross_entropy(hidden, self._classifier(table), self.bias, targets, smoothing)

    def memory_cache(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Project a memory [clips, places, memory_width] for every block, once per clip.

        Returns:
            Keys and values, each [blocks, clips, places, heads, head_dim].
        """
        projected = [block.cross_attention.keys_values(memory) for block in self._blocks()]
        keys, values = zip(*projected, strict=True)  # each [clips, heads, places, head_dim]
        return torch.stack(keys).transpose(2, 3), torch.stack(values).transpose(2, 3)

    def begin(self, keys: Tensor, values: Tensor, mask: Tensor | None) -> Cache[Tensor]:
        """Return the cache before any word.

        Args:
            keys: of the memory, from `memory_cache`.
            values: as the keys.
            mask: bool [clips, places], True for real places; None means nothing is padded.
        """
        blocks, clips, _, heads, head_dim = keys.shape
        if mask is None:
            mask = torch.ones(keys.shape[1:3], dtype=torch.bool, device=keys.device)
        empty = (keys.new_zeros(clips, 1, heads, 0, head_dim),) * blocks
        memory_keys = tuple(keys.permute(0, 1, 3, 4, 2).contiguous())
        return Cache(empty, empty, memory_keys, tuple(values.transpose(2, 3).contiguous()), mask)

    def step(self, words: Tensor, cache: Cache[Tensor]) -> tuple[Tensor, Tensor, Cache[Tensor]]:
        """Decode one more word of every beam; the position is the number of words in the cache.

        Args:
            words: the newest word, embedded, [clips, beam, word_width].
            cache: of the words before it, none at START, and of the memory; `bundle.graphs` has the shapes.

        Returns:
            Hidden states [clips, beam, d_model]; the shares of the memory's places in them, [clips, beam,
            places], mean over blocks and heads; and the cache after the word.
        """
        clips, beam = words.shape[:2]
        # One row for every beam: products of two matrices run faster than those of stacks of them.
        position = sinusoidal_positions(1, self.settings.d_model, cache.keys[0].shape[3], words.device)
        x = self._enter(words.flatten(0, 1), position)  # [clips * beam, d_model]
        unheard = x.new_zeros(1).masked_fill(~cache.memory_mask[:, None, None, :], -math.inf)
        keys, values, weights = [], [], []
        for layer, block in enumerate(self._blocks()):
            words_keys, words_values = cache.keys[layer], cache.values[layer]
            attended, *longer = block.self_attention.attend_newest(x, words_keys, words_values)
            x = block.after_words(x, attended)
            memory_keys, memory_values = cache.memory_keys[layer], cache.memory_values[layer]
            attended, shares = block.cross_attention.attend_shared(x, memory_keys, memory_values, unheard)
            x = block.after_memory(x, attended)
            keys.append(longer[0])
            values.append(longer[1])
            weights.append(shares.mean(dim=1))  # [clips, beam, places]
        attention = torch.stack(weights).mean(dim=0)
        after = cache._replace(keys=tuple(keys), values=tuple(values))
        return x.reshape(clips, beam, -1), attention, after

    def _classifier(self, table: Tensor | None) -> Tensor:
        weight = table if self.settings.tied else self.classifier
        assert weight is not None
        return weight

    def _enter(self, words: Tensor, positions: Tensor) -> Tensor:
        x: Tensor = self.enter(words)
        if self.settings.tied:
            # Vectors that give logits of a sensible size are small beside the positions.
            x = x * self.settings.d_model**0.5
        if self.settings.positions:
            x = x + positions
        return self.dropout(x)  # type: ignore[no-any-return]

    def _blocks(self) -> Iterator[Block]:
        for block in self.blocks:
            assert isinstance(block, Block)
            yield block
