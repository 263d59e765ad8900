"""Captioners for training as people write them, of the same sizes as ours.

Both take pairs of clip and caption: features and captions are padded to the longest of the batch, the clip's
features come again with each of its captions, and the score of every word is computed at every place.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from otoscribe.model.caption_model import CaptionModel
from otoscribe.model.decoder import Block
from otoscribe.text.vocabulary import END, PAD, START

LONGEST = 64
"""Words of a caption, START counted, for which there are positions."""

Pair = tuple[Tensor, list[int]]
"""Features of a clip [frames, width], and the ids of one of its captions."""


class Padded(NamedTuple):
    """A batch of pairs."""

    features: Tensor
    """[pairs, frames, width]."""
    is_padding: Tensor
    """bool [pairs, frames], True after a clip's end."""
    tokens: Tensor
    """int64 [pairs, time], START first."""
    targets: Tensor
    """int64 [pairs, time], END last."""

    def to(self, device: torch.device) -> "Padded":
        """Copy to a device."""
        return Padded(*(tensor.to(device) for tensor in self))


def collated(pairs: Sequence[Pair]) -> Padded:
    """Make a batch."""
    lengths = torch.tensor([len(features) for features, _ in pairs])
    features = pad_sequence([features for features, _ in pairs], batch_first=True)
    is_padding = torch.arange(features.shape[1]) >= lengths[:, None]
    tokens = [torch.tensor([START, *words]) for _, words in pairs]
    targets = [torch.tensor([*words, END]) for _, words in pairs]
    return Padded(
        features,
        is_padding,
        pad_sequence(tokens, batch_first=True, padding_value=PAD),
        pad_sequence(targets, batch_first=True, padding_value=PAD),
    )


def batches(pairs: Sequence[Pair], batch_pairs: int) -> Iterator[Padded]:
    """Yield all pairs once, shuffled."""
    loader = DataLoader(cast("torch.utils.data.Dataset[Pair]", pairs), batch_pairs, True, collate_fn=collated)
    yield from loader


def positions(width: int) -> Tensor:
    """Return the sinusoids of PyTorch's tutorial on Transformers, [LONGEST, width]."""
    position = torch.arange(LONGEST)[:, None]
    frequency = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    table = torch.zeros(LONGEST, width)
    table[:, 0::2] = torch.sin(position * frequency)
    table[:, 1::2] = torch.cos(position * frequency)
    return table


class TorchCaptioner(nn.Module):
    """`torch.nn.TransformerDecoder` between an adapter, embedded words and a classifier; no dropout.

    Args:
        model: ours, whose sizes and weights it takes over.
    """

    def __init__(self, model: CaptionModel) -> None:
        super().__init__()
        shape, memory_width = model.decoder.settings, model.adapter.width
        width = shape.d_model
        self.adapter = _adapter(model.settings.feature_width, memory_width)
        self.words = nn.Embedding(len(model.decoder.bias), model.words.width, padding_idx=PAD)
        self.enter = nn.Linear(model.words.width, width)
        self.positions: Tensor
        self.register_buffer("positions", positions(width), persistent=False)
        layer = nn.TransformerDecoderLayer(width, shape.heads, shape.ff, dropout=0.0, batch_first=True)
        # The memory is not as wide as the decoder, for which the layer has no argument.
        layer.multihead_attn = nn.MultiheadAttention(
            width, shape.heads, kdim=memory_width, vdim=memory_width, batch_first=True
        )
        self.decoder = nn.TransformerDecoder(layer, shape.blocks)
        self.classifier = nn.Linear(width, len(model.decoder.bias))
        with torch.no_grad():
            self._take(model)

    def forward(self, batch: Padded) -> Tensor:
        """Return the mean loss of a batch."""
        time = batch.tokens.shape[1]
        causal = torch.ones(time, time, dtype=torch.bool, device=batch.tokens.device).triu(1)
        hidden = self.decoder(
            self.enter(self.words(batch.tokens)) + self.positions[:time],
            self.adapter(batch.features),
            tgt_mask=causal,
            tgt_key_padding_mask=batch.tokens == PAD,
            memory_key_padding_mask=batch.is_padding,
        )
        return _loss(self.classifier(hidden), batch)

    def _take(self, model: CaptionModel) -> None:
        self.adapter.load_state_dict(
            {name.removeprefix("layers."): value for name, value in model.adapter.state_dict().items()}
        )
        assert model.words.table is not None
        self.words.weight.copy_(model.words.table)
        self.enter.load_state_dict(model.decoder.enter.state_dict())
        self.classifier.weight.copy_(model.decoder.classifier)
        self.classifier.bias.copy_(model.decoder.bias)
        for block, layer in zip(model.decoder.blocks, self.decoder.layers, strict=True):
            assert isinstance(block, Block)
            assert isinstance(layer, nn.TransformerDecoderLayer)
            assert isinstance(block.feed_forward, nn.Sequential)
            own, cross = block.self_attention, block.cross_attention
            parts = (own.query, own.key, own.value)
            layer.self_attn.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
            layer.self_attn.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
            layer.self_attn.out_proj.load_state_dict(own.output.state_dict())
            layer.multihead_attn.q_proj_weight.copy_(cross.query.weight)
            layer.multihead_attn.k_proj_weight.copy_(cross.key.weight)
            layer.multihead_attn.v_proj_weight.copy_(cross.value.weight)
            parts = (cross.query, cross.key, cross.value)
            layer.multihead_attn.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
            layer.multihead_attn.out_proj.load_state_dict(cross.output.state_dict())
            layer.linear1.load_state_dict(block.feed_forward[0].state_dict())
            layer.linear2.load_state_dict(block.feed_forward[3].state_dict())
            layer.norm1.load_state_dict(block.self_norm.state_dict())
            layer.norm2.load_state_dict(block.cross_norm.state_dict())
            layer.norm3.load_state_dict(block.feed_forward_norm.state_dict())


class BartCaptioner(nn.Module):
    """Hugging Face's BART decoder between an adapter, embedded words and a classifier; no dropout.

    Args:
        model: ours, whose sizes it takes over; its weights are random.
    """

    def __init__(self, model: CaptionModel) -> None:
        from transformers import BartConfig
        from transformers.models.bart.modeling_bart import BartDecoder

        super().__init__()
        shape, words = model.decoder.settings, len(model.decoder.bias)
        config = BartConfig(
            vocab_size=4,  # its own embeddings are not used: the words are as wide as ours
            d_model=shape.d_model,
            decoder_layers=shape.blocks,
            decoder_attention_heads=shape.heads,
            decoder_ffn_dim=shape.ff,
            max_position_embeddings=LONGEST,
            activation_function="relu",
            dropout=0.0,
            pad_token_id=0,
            use_cache=False,
        )
        self.adapter = _adapter(model.settings.feature_width, model.adapter.width)
        self.words = nn.Embedding(words, model.words.width, padding_idx=PAD)
        self.enter = nn.Linear(model.words.width, shape.d_model)
        decoder: Any = BartDecoder(config)
        for layer in decoder.layers:  # as in `TorchCaptioner`
            layer.encoder_attn.k_proj = nn.Linear(model.adapter.width, shape.d_model)
            layer.encoder_attn.v_proj = nn.Linear(model.adapter.width, shape.d_model)
        self.decoder = decoder
        self.classifier = nn.Linear(shape.d_model, words)

    def forward(self, batch: Padded) -> Tensor:
        """Return the mean loss of a batch."""
        decoded = self.decoder(
            inputs_embeds=self.enter(self.words(batch.tokens)),
            attention_mask=(batch.tokens != PAD).long(),
            encoder_hidden_states=self.adapter(batch.features),
            encoder_attention_mask=(~batch.is_padding).long(),
        )
        return _loss(self.classifier(decoded.last_hidden_state), batch)


def _adapter(width: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, hidden))


def _loss(logits: Tensor, batch: Padded) -> Tensor:
    return nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=PAD)
