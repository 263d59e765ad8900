"""Our network decoded by PyTorch as people write it: a loop over words, with a cache that grows by one."""

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.captioners import positions
from otoscribe.model.attention import MultiHeadAttention
from otoscribe.model.caption_model import CaptionModel
from otoscribe.model.decoder import Block
from otoscribe.text.vocabulary import END, PAD, START, UNKNOWN


@torch.inference_mode()
def captioned(model: CaptionModel, memory: Tensor, mask: Tensor, beam: int, words: int) -> list[list[int]]:
    """Return the best caption of each clip by beam search, ids without START and END.

    Args:
        model: in evaluation mode.
        memory: what the adapter gave, [clips, places, width].
        mask: bool [clips, places], True for real places.
        beam: hypotheses kept per clip; 1 is greedy.
        words: length of every caption.
    """
    clips, decoder, table = len(memory), model.decoder, model.words.table
    assert table is not None
    blocks = [block for block in decoder.blocks if isinstance(block, Block)]
    places = positions(decoder.settings.d_model)
    rows = memory.repeat_interleave(beam, 0)  # every hypothesis has the memory of its clip
    allowed = mask.repeat_interleave(beam, 0)[:, None, None, :]
    memories = [_keys_values(block.cross_attention, rows) for block in blocks]
    caches: list[tuple[Tensor, Tensor] | None] = [None] * len(blocks)
    history = torch.full((clips * beam, 1), START)
    scores = torch.full((clips, beam), float("-inf"))
    scores[:, 0] = 0.0  # at first all hypotheses of a clip are the same
    for time in range(words + 1):
        x = decoder.enter(table[history[:, -1:]]) + places[time]
        for layer, block in enumerate(blocks):
            keys, values = _keys_values(block.self_attention, x)
            cache = caches[layer]
            if cache is not None:
                keys, values = torch.cat([cache[0], keys], 2), torch.cat([cache[1], values], 2)
            caches[layer] = (keys, values)
            x = block.self_norm(x + _attended(block.self_attention, x, keys, values, None))
            x = block.cross_norm(x + _attended(block.cross_attention, x, *memories[layer], allowed))
            if block.feed_forward is not None:
                x = block.feed_forward_norm(x + block.feed_forward(x))
        likely = F.linear(x[:, 0], decoder.classifier, decoder.bias).log_softmax(-1).view(clips, beam, -1)
        if time == words:
            best = (scores + likely[..., END]).argmax(1)
            return history.view(clips, beam, -1)[torch.arange(clips), best, 1:].tolist()
        likely[..., [PAD, START, END, UNKNOWN]] = float("-inf")
        scores, chosen = (scores[..., None] + likely).flatten(1).topk(beam)
        parents = chosen // likely.shape[-1] + torch.arange(clips)[:, None] * beam
        history = torch.cat([history[parents.flatten()], (chosen % likely.shape[-1]).view(-1, 1)], 1)
        if beam > 1:
            caches = [(cache[0][parents.flatten()], cache[1][parents.flatten()]) for cache in caches if cache]
    raise AssertionError("unreachable")


def _split(projected: Tensor, attention: MultiHeadAttention) -> Tensor:
    return projected.view(*projected.shape[:2], attention.heads, attention.head_dim).transpose(1, 2)


def _keys_values(attention: MultiHeadAttention, x: Tensor) -> tuple[Tensor, Tensor]:
    return _split(attention.key(x), attention), _split(attention.value(x), attention)


def _attended(
    attention: MultiHeadAttention, x: Tensor, keys: Tensor, values: Tensor, allowed: Tensor | None
) -> Tensor:
    mixed = F.scaled_dot_product_attention(_split(attention.query(x), attention), keys, values, allowed)
    attended: Tensor = attention.output(mixed.transpose(1, 2).flatten(2))
    return attended
