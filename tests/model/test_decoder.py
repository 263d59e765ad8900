"""The decoder against PyTorch's own blocks, and the properties that decoding rests on."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from otoscribe.bundle.graphs import reordered
from otoscribe.errors import SettingsError
from otoscribe.model.attention import MultiHeadAttention, sinusoidal_positions
from otoscribe.model.decoder import Block, Decoder, DecoderSettings
from otoscribe.model.packing import Packing
from support.packed import decoded
from support.torch_layers import scattered, torch_attention, torch_decoder_layer

SMALL = DecoderSettings(d_model=16, heads=2, head_dim=8, ff=24, blocks=3)
VOCABULARY = 11


def decoder(settings: DecoderSettings = SMALL, word_width: int = 12, memory_width: int = 10) -> Decoder:
    torch.manual_seed(1)
    return scattered(Decoder(settings, word_width, memory_width, VOCABULARY)).eval()


def test_attention_equals_torch_with_a_padded_memory() -> None:
    torch.manual_seed(0)
    ours = scattered(MultiHeadAttention(16, 16, 4, 4))
    theirs = torch_attention(ours)
    queries, memory = torch.randn(3, 5, 16), torch.randn(3, 7, 16)
    mask = torch.arange(7) < torch.tensor([[7], [4], [1]])
    expected, _ = theirs(queries, memory, memory, key_padding_mask=~mask)
    torch.testing.assert_close(ours(queries, memory, mask), expected)
    assert not torch.allclose(ours(queries, memory), expected)


def test_attention_with_another_memory_width_and_inner_width_has_the_query_width() -> None:
    assert MultiHeadAttention(16, 6, 3, 128)(torch.randn(2, 5, 16), torch.randn(2, 7, 6)).shape == (2, 5, 16)


def test_block_equals_torch_decoder_layer() -> None:
    torch.manual_seed(0)
    ours = scattered(Block(SMALL, memory_width=16))
    theirs = torch_decoder_layer(ours)
    x, memory = torch.randn(3, 5, 16), torch.randn(3, 7, 16)
    mask = torch.arange(7) < torch.tensor([[7], [4], [1]])
    expected = theirs(
        x,
        memory,
        tgt_mask=torch.ones(5, 5, dtype=torch.bool).triu(1),
        memory_key_padding_mask=~mask,
    )
    packing, packed = Packing.of([5] * 3, range(3)), x.flatten(end_dim=1)
    inward = ours.after_words(packed, ours.self_attention.attend_packed_words(packed, packing))
    keys_values = ours.cross_attention.keys_values(memory)
    attended = ours.cross_attention.attend_packed_memory(inward, *keys_values, mask[:, None, None], packing)
    torch.testing.assert_close(ours.after_memory(inward, attended), expected.flatten(end_dim=1))


def test_positions_are_sines_and_cosines_of_falling_frequency() -> None:
    positions = sinusoidal_positions(50, 6)
    assert torch.equal(positions[0], torch.tensor([0.0, 1.0] * 3))
    position, column = 37, 4
    angle = torch.tensor(position / 10000 ** (column / 6))
    torch.testing.assert_close(positions[position, 4:], torch.stack([angle.sin(), angle.cos()]))
    torch.testing.assert_close(sinusoidal_positions(3, 6, first=20), positions[20:23])
    assert sinusoidal_positions(4, 5).shape == (4, 5)


def batch() -> tuple[Tensor, Tensor, Tensor, list[int]]:
    """Embedded words of 4 rows about 3 clips, and a memory with padding."""
    torch.manual_seed(2)
    mask = torch.arange(6) < torch.tensor([[6], [4], [2]])
    return torch.randn(4, 5, 12), torch.randn(3, 6, 10), mask, [2, 0, 0, 1]


@pytest.mark.parametrize("ff", [0, 24])
def test_the_future_has_exactly_zero_gradient_and_the_past_does_not(ff: int) -> None:
    words, memory, mask, clip_of_row = batch()
    words.requires_grad_()
    made = decoder(SMALL.model_copy(update={"ff": ff}))
    for time in range(5):
        hidden = decoded(made, words, memory, mask, clip_of_row)
        (gradient,) = torch.autograd.grad(hidden[:, time].square().sum(), words)
        assert gradient[:, time + 1 :].count_nonzero() == 0
        assert (gradient[:, : time + 1].abs().amax(dim=(0, 2)) > 0).all()


def test_padding_of_memory_and_captions_changes_nothing() -> None:
    words, memory, mask, clip_of_row = batch()
    made = decoder()
    whole = decoded(made, words, memory, mask, clip_of_row)
    noisy = torch.where(mask[..., None], memory, 1e3)
    longer = torch.cat([words, torch.full((4, 3, 12), 1e3)], dim=1)
    torch.testing.assert_close(decoded(made, longer, noisy, mask, clip_of_row)[:, :5], whole)
    for row, clip in enumerate(clip_of_row):
        alone = decoded(made, words[row : row + 1], memory[clip : clip + 1, mask[clip]], None, [0])
        torch.testing.assert_close(alone[0], whole[row])


@pytest.mark.parametrize("positions", [True, False])
def test_step_by_step_with_cache_equals_the_whole_sequence(positions: bool) -> None:
    words, memory, mask, _ = batch()
    made = decoder(SMALL.model_copy(update={"positions": positions}))
    beams = torch.stack([words[:3], words[1:]], dim=1)  # [clips, beam, time, width]
    memories = made.memory_cache(memory)
    whole = decoded(made, beams.flatten(0, 1), memory, mask, [0, 0, 1, 1, 2, 2]).unflatten(0, (3, 2))
    assert memories[0].shape == (3, 3, 6, 2, 8)
    cache = made.begin(*memories, mask)
    cache = reordered(cache, np.array([[0, 0], [1, 1], [2, 2]]))
    for time in range(5):
        hidden, attention, cache = made.step(beams[:, :, time], cache)
        torch.testing.assert_close(hidden, whole[:, :, time])
        torch.testing.assert_close(attention.sum(-1), torch.ones(3, 2))
        assert attention.shape == (3, 2, 6)
        assert (attention[~mask[:, None].expand_as(attention)] == 0).all()
    assert [keys.shape for keys in (*cache.keys, *cache.values)] == [(3, 2, 2, 5, 8)] * 6


def test_order_of_words_matters_only_with_positions() -> None:
    words, memory, mask, clip_of_row = batch()
    swapped = words[:, [1, 0, 2, 3, 4]]
    for positions in (True, False):
        made = decoder(SMALL.model_copy(update={"positions": positions, "blocks": 1}))
        same = torch.allclose(
            decoded(made, words, memory, mask, clip_of_row)[:, 4],
            decoded(made, swapped, memory, mask, clip_of_row)[:, 4],
            atol=1e-6,
        )
        assert same is not positions


def test_dropout_acts_in_training_only() -> None:
    words, memory, mask, clip_of_row = batch()
    made = decoder(SMALL.model_copy(update={"dropout": 0.5}))
    quiet = decoded(made, words, memory, mask, clip_of_row)
    torch.testing.assert_close(decoded(made, words, memory, mask, clip_of_row), quiet)
    assert not torch.allclose(decoded(made.train(), words, memory, mask, clip_of_row), quiet)


def test_tied_output_scores_words_by_their_embeddings() -> None:
    made = decoder(SMALL.model_copy(update={"tied": True}), word_width=16)
    hidden, weight = torch.randn(2, 16), torch.randn(VOCABULARY, 16)
    torch.testing.assert_close(made.logits(hidden, weight), hidden @ weight.T + made.bias)
    assert "classifier" not in dict(made.named_parameters())
    untied = decoder()
    torch.testing.assert_close(untied.logits(hidden, weight), hidden @ untied.classifier.T + untied.bias)


def test_tied_output_refuses_another_width() -> None:
    with pytest.raises(SettingsError, match=r"they are 12 and 16 wide. Set the words' width to 16"):
        decoder(SMALL.model_copy(update={"tied": True}))


def test_attention_is_the_mean_over_blocks_and_heads() -> None:
    words, memory, _, _ = batch()
    made = decoder(SMALL.model_copy(update={"blocks": 2}))
    seen: list[Tensor] = []
    for block in made.blocks:
        attend = block.cross_attention.attend_shared

        def watched(*given: Tensor, attend: Callable[..., tuple[Tensor, Tensor]] = attend) -> object:
            result = attend(*given)
            seen.append(result[1])  # [clips, heads, beam, places]
            return result

        block.cross_attention.attend_shared = watched
    cache = made.begin(*made.memory_cache(memory), None)
    cache = reordered(cache, np.array([[0, 0], [1, 1], [2, 2]]))
    _, attention, _ = made.step(torch.stack([words[:3, 0], words[1:, 0]], dim=1), cache)
    assert len(seen) == 2
    torch.testing.assert_close(attention, (seen[0].mean(1) + seen[1].mean(1)) / 2)
