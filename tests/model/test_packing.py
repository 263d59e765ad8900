"""Packed captions: each is decoded as it is alone, whatever lies beside it."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otoscribe.model.decoder import Decoder, DecoderSettings
from otoscribe.model.packing import Packing
from support.packed import decoded
from support.torch_layers import scattered

SETTINGS = DecoderSettings(d_model=16, heads=2, head_dim=8, ff=24, blocks=2)

CAPTIONS = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 3)), min_size=1, max_size=9).map(sorted)
"""Lengths with the clip of each, the shortest first."""


@settings(deadline=None)  # the first call sets torch up
@given(CAPTIONS)
def test_a_packed_caption_is_decoded_as_alone(captions: list[tuple[int, int]]) -> None:
    torch.manual_seed(0)
    decoder = scattered(Decoder(SETTINGS, 12, 10, 9)).eval()
    memory, mask = torch.randn(4, 6, 10), torch.arange(6) < torch.tensor([[6], [4], [2], [1]])
    words = [torch.randn(length, 12) for length, _ in captions]
    packing = Packing.of(*zip(*captions, strict=True))
    with torch.inference_mode():
        found = decoder(torch.cat(words), *decoder.memory_cache(memory), mask, packing)
        alone = [
            decoded(decoder, word[None], memory[[clip]], mask[[clip]], [0])[0]
            for word, (_, clip) in zip(words, captions, strict=True)
        ]
    torch.testing.assert_close(found, torch.cat(alone))


@given(CAPTIONS)
def test_every_token_has_a_slot_of_its_own_beside_those_of_its_clip(captions: list[tuple[int, int]]) -> None:
    packing = Packing.of(*zip(*captions, strict=True))
    clips = [clip for length, clip in captions for _ in range(length)]
    assert (packing.slots // packing.most).tolist() == clips
    assert len(set(packing.slots.tolist())) == len(clips)
    assert packing.most == max(map(clips.count, clips))
    assert packing.positions.tolist() == [place for length, _ in captions for place in range(length)]
    assert sum(packing.blocks) == len(clips)
