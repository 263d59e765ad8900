import torch
from torch import nn

from otoscribe.model.adapters.attention import Attention
from otoscribe.model.adapters.identity import Identity
from otoscribe.model.adapters.mlp import Mlp
from otoscribe.model.attention import MultiHeadAttention, sinusoidal_positions
from support.torch_layers import scattered, torch_encoder_layer


def parts(adapter: Attention, kind: type[nn.Module]) -> list[nn.Module]:
    """The adapter's modules of a kind, in the order in which they run."""
    return [module for module in adapter.modules() if isinstance(module, kind)]


def test_attention_equals_torch_transformer_encoder_layer() -> None:
    torch.manual_seed(0)
    adapter = scattered(Attention(Attention.Settings(d_model=32, heads=4, head_dim=8, ff=48), 20)).eval()
    features = torch.randn(2, 6, 20)
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    x = adapter.reduction(features) + sinusoidal_positions(6, 32)
    expected = torch_encoder_layer(adapter.layer)(x, src_key_padding_mask=~mask)
    memory, *_ = adapter(features, mask)
    torch.testing.assert_close(memory[mask], expected[mask], rtol=1e-5, atol=1e-5)


def test_positions_are_a_setting() -> None:
    features = torch.rand(1, 5, 20)
    for positions, same in ((True, False), (False, True)):
        torch.manual_seed(0)
        adapter = Attention(Attention.Settings(d_model=32, head_dim=8, positions=positions), 20).eval()
        forwards, *_ = adapter(features, None)
        backwards, *_ = adapter(features.flip(1), None)
        assert torch.allclose(forwards, backwards.flip(1), atol=1e-5) is same


def test_heads_times_head_dim_need_not_be_d_model() -> None:
    adapter = Attention(Attention.Settings(d_model=10, heads=3, head_dim=7), 20)
    assert adapter(torch.rand(2, 4, 20), None)[0].shape == (2, 4, 10)


def test_the_defaults_are_the_papers() -> None:
    attention = Attention(Attention.Settings(), 1024)
    (heads,) = parts(attention, MultiHeadAttention)
    assert (attention.width, heads.heads, heads.head_dim) == (512, 4, 128)
    mlp = Mlp(Mlp.Settings(), 1024)
    assert [tuple(p.shape) for p in mlp.parameters()] == [(256, 1024), (256,), (256, 256), (256,)]


def test_identity_is_the_identity() -> None:
    features, mask = torch.rand(2, 3, 5), torch.tensor([[True, True, False], [True, True, True]])
    memory, memory_mask, sources, *_ = Identity(Identity.Settings(), 5)(features, mask)
    assert memory is features
    assert memory_mask is mask
    assert sources is None


def test_mlp_is_linear_relu_linear() -> None:
    adapter, features = Mlp(Mlp.Settings(hidden=8), 5), torch.randn(2, 4, 5)
    first, first_bias, last, last_bias = adapter.parameters()
    hidden = (features @ first.T + first_bias).clamp(min=0.0)
    torch.testing.assert_close(adapter(features, None).memory, hidden @ last.T + last_bias)


def test_mlp_treats_every_frame_alike() -> None:
    adapter = Mlp(Mlp.Settings(hidden=8), 5)
    frame = torch.rand(1, 1, 5)
    memory, *_ = adapter(frame.expand(1, 4, 5), None)
    assert torch.allclose(memory, memory[:, :1].expand_as(memory))
