"""Captions of one length through a decoder, which takes them packed."""

from collections.abc import Sequence

from torch import Tensor

from otoscribe.model.decoder import Decoder
from otoscribe.model.packing import Packing


def decoded(
    decoder: Decoder, words: Tensor, memory: Tensor, mask: Tensor | None, clip_of_row: Sequence[int]
) -> Tensor:
    """Return hidden states [rows, time, d_model] of embedded words [rows, time, word_width]."""
    rows, time = words.shape[:2]
    packing = Packing.of([time] * rows, clip_of_row)
    hidden: Tensor = decoder(words.flatten(end_dim=1), *decoder.memory_cache(memory), mask, packing)
    return hidden.reshape(rows, time, -1)
