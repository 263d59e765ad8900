"""Where dropout acts, and how strongly: with the same seed, PyTorch's layers drop the same elements."""

import pytest
import torch
from torch import Tensor, nn

from otoscribe.model.adapters.attention import Attention, AttentionSettings
from otoscribe.model.adapters.base import ADAPTERS, Adapter
from otoscribe.model.attention import EncoderLayer, sinusoidal_positions
from otoscribe.model.decoder import Decoder, DecoderSettings
from support.packed import decoded
from support.torch_layers import scattered, torch_decoder_layer, torch_encoder_layer

CHANCE = 0.4


def test_an_encoder_layer_drops_both_residual_branches_and_the_feed_forward_inside() -> None:
    ours = scattered(EncoderLayer(width=16, heads=4, head_dim=4, ff=40, dropout=CHANCE))
    theirs, x = torch_encoder_layer(ours, CHANCE), torch.randn(1, 7, 16)
    for seed in range(3):
        torch.manual_seed(seed)
        found = ours(x, None)
        torch.manual_seed(seed)
        torch.testing.assert_close(found, theirs(x))
    assert not torch.allclose(ours(x, None), ours(x, None))


def test_the_attention_adapter_drops_what_its_layer_drops() -> None:
    settings = AttentionSettings(d_model=16, heads=4, head_dim=4, ff=40, dropout=CHANCE)
    adapter = scattered(Attention(settings, 12))
    layer, features = torch_encoder_layer(adapter.layer, CHANCE), torch.randn(1, 7, 12)
    torch.manual_seed(1)
    found = adapter(features, None).memory
    torch.manual_seed(1)
    x = adapter.reduction(features) + sinusoidal_positions(7, 16)
    torch.testing.assert_close(found, layer(x))


def decoder(**changes: object) -> Decoder:
    settings = DecoderSettings(d_model=16, heads=4, head_dim=4, ff=40, blocks=2, dropout=CHANCE)
    return scattered(Decoder(settings.model_copy(update=changes), 16, 16, vocabulary_size=9))


def dropped(made: Decoder, words: Tensor, memory: Tensor, seed: int) -> Tensor:
    torch.manual_seed(seed)
    return decoded(made, words, memory, None, [0])


def test_the_decoder_drops_its_input_every_residual_branch_and_the_feed_forward_inside() -> None:
    made = decoder()
    words, memory = torch.randn(1, 5, 16), torch.randn(1, 7, 16)
    layers = [torch_decoder_layer(block, CHANCE) for block in made.blocks]
    future = torch.ones(5, 5, dtype=torch.bool).triu(1)
    for seed in range(3):
        found = dropped(made, words, memory, seed)
        torch.manual_seed(seed)
        x = nn.functional.dropout(words + sinusoidal_positions(5, 16), CHANCE)
        for layer in layers:
            x = layer(x, memory, tgt_mask=future)
        torch.testing.assert_close(found, x)


@pytest.mark.parametrize("changes", [{}, {"ff": 0}, {"blocks": 1}])
def test_the_decoder_drops_in_training_only_and_only_if_asked(changes: dict[str, int]) -> None:
    words, memory = torch.randn(1, 5, 16), torch.randn(1, 7, 16)
    made = decoder(**changes)
    assert not torch.allclose(dropped(made, words, memory, 0), dropped(made, words, memory, 1))
    made.eval()
    assert torch.equal(dropped(made, words, memory, 0), dropped(made, words, memory, 1))
    made = decoder(**changes, dropout=0.0)
    assert torch.equal(dropped(made, words, memory, 0), dropped(made, words, memory, 1))


@pytest.mark.parametrize("kind", list(ADAPTERS))
def test_an_adapter_drops_in_training_only_and_only_if_asked(kind: str) -> None:
    variant = ADAPTERS[kind]
    width = variant.input_width or 12
    features = torch.rand(1, 7, width)

    def same(adapter: Adapter) -> bool:
        torch.manual_seed(1)
        first = adapter(features, None).memory
        torch.manual_seed(2)
        return torch.equal(first, adapter(features, None).memory)

    assert same(variant(variant.Settings(name=kind), width).train())
    if "dropout" in variant.Settings.model_fields:
        dropping = variant(variant.Settings(name=kind, dropout=CHANCE), width)
        assert not same(dropping.train())
        assert same(dropping.eval())
