"""PyTorch's own Transformer layers with the weights of ours: what our layers must equal.

With the same seed they also draw the same dropout, for one clip at a time: in a batch, PyTorch's attention
returns its output transposed, and draws in another order.
"""

from typing import TypeVar

import torch
from torch import nn

from otoscribe.model.attention import EncoderLayer, MultiHeadAttention
from otoscribe.model.decoder import Block

Module = TypeVar("Module", bound=nn.Module)


def torch_attention(ours: MultiHeadAttention) -> nn.MultiheadAttention:
    """Return PyTorch's attention without dropout of attention weights, which ours does not have either."""
    theirs = nn.MultiheadAttention(ours.output.out_features, ours.heads, batch_first=True)
    copy_attention(ours, theirs)
    return theirs


def copy_attention(ours: MultiHeadAttention, theirs: nn.MultiheadAttention) -> None:
    projections = (ours.query, ours.key, ours.value)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([projection.weight for projection in projections]))
        theirs.in_proj_bias.copy_(torch.cat([projection.bias for projection in projections]))
    theirs.out_proj.load_state_dict(ours.output.state_dict())
    theirs.dropout = 0.0


def torch_encoder_layer(ours: EncoderLayer, dropout: float = 0.0) -> nn.TransformerEncoderLayer:
    inner = linears(ours.feed_forward)
    width, ff = inner[0].in_features, inner[0].out_features
    theirs = nn.TransformerEncoderLayer(width, ours.attention.heads, ff, dropout, batch_first=True)
    copy_attention(ours.attention, theirs.self_attn)
    copy_parts(
        (ours.attention_norm, *inner, ours.feed_forward_norm),
        (theirs.norm1, theirs.linear1, theirs.linear2, theirs.norm2),
    )
    return theirs


def torch_decoder_layer(ours: Block, dropout: float = 0.0) -> nn.TransformerDecoderLayer:
    """Return PyTorch's layer for a block that has a feed-forward layer, and a memory as wide as the words."""
    assert ours.feed_forward is not None
    inner = linears(ours.feed_forward)
    width, ff = inner[0].in_features, inner[0].out_features
    theirs = nn.TransformerDecoderLayer(width, ours.self_attention.heads, ff, dropout, batch_first=True)
    copy_attention(ours.self_attention, theirs.self_attn)
    copy_attention(ours.cross_attention, theirs.multihead_attn)
    copy_parts(
        (ours.self_norm, ours.cross_norm, *inner, ours.feed_forward_norm),
        (theirs.norm1, theirs.norm2, theirs.linear1, theirs.linear2, theirs.norm3),
    )
    return theirs


def linears(layers: nn.Sequential) -> list[nn.Linear]:
    return [layer for layer in layers if isinstance(layer, nn.Linear)]


def copy_parts(ours: tuple[nn.Module, ...], theirs: tuple[nn.Module, ...]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        other.load_state_dict(one.state_dict())


def scattered(module: Module) -> Module:
    """Move all weights away from their beginning, biases and norms too, so that a mix-up shows."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module
