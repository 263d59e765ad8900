from pathlib import Path

import pytest
import torch

from otoscribe.errors import WeightsError
from otoscribe.learn.encoders.compact_yamnet import CompactYamnet
from otoscribe.learn.encoders.yamnet import Yamnet


@pytest.fixture(scope="module")
def full(formula_file: Path) -> Yamnet:
    return Yamnet.load(formula_file, 0.5)


@pytest.fixture(scope="module")
def default(full: Yamnet) -> CompactYamnet:
    return CompactYamnet.from_yamnet(full)


@pytest.fixture
def waveforms() -> torch.Tensor:
    return torch.rand(2, 30000, generator=torch.Generator().manual_seed(0)) - 0.5


def test_at_full_rank_it_is_the_whole_network(full: Yamnet, waveforms: torch.Tensor) -> None:
    compact = CompactYamnet.from_yamnet(full, fraction=1.0, classifier_rank=521)
    expected = full(waveforms)
    for name, value in compact(waveforms).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-4)


def test_every_pair_is_the_nearest_of_its_rank(full: Yamnet, default: CompactYamnet) -> None:
    first, second = default.trunk.pointwise[12]
    weight = full.trunk.pointwise[12].weight.flatten(1)
    product = second.weight.flatten(1) @ first.weight.flatten(1)
    rank = 1024 // 8
    assert len(first.weight) == rank
    # Eckart and Young: the squared error of the best approximation is the sum of the squared values left out.
    left_out = torch.linalg.svdvals(weight)[rank:].square().sum()
    torch.testing.assert_close((weight - product).square().sum(), left_out, rtol=1e-3, atol=0.0)


def test_biases_and_spatial_convolutions_are_the_whole_networks(full: Yamnet, default: CompactYamnet) -> None:
    assert torch.equal(default.trunk.pointwise[3][1].bias, full.trunk.pointwise[3].bias)
    assert torch.equal(default.classifier[1].bias, full.classifier.bias)
    depthwise, expected = (net.trunk.depthwise[3].convolution.weight for net in (default, full))
    assert torch.equal(depthwise, expected)
    assert default.overlap == full.overlap


def test_it_is_compact() -> None:
    sizes = [sum(weight.numel() for weight in kind().parameters()) for kind in (Yamnet, CompactYamnet)]
    assert sizes == [3_729_481, 1_069_945]


def test_it_loads_as_it_was_saved(waveforms: torch.Tensor, tmp_path: Path) -> None:
    compact = CompactYamnet(0.5, fraction=1 / 16, classifier_rank=40)
    compact.save(tmp_path / "compact.safetensors")
    loaded = CompactYamnet.load(tmp_path / "compact.safetensors", 0.5)
    assert (loaded.fraction, loaded.classifier_rank) == (1 / 16, 40)
    for name, value in compact(waveforms).items():
        assert torch.equal(loaded(waveforms)[name], value)


def test_a_damaged_file_is_refused(default: CompactYamnet, tmp_path: Path) -> None:
    path = tmp_path / "compact.safetensors"
    default.save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"damaged.*\.$"):
        CompactYamnet.load(path)


def test_weights_can_be_thawed_for_distillation(waveforms: torch.Tensor) -> None:
    compact = CompactYamnet(0.5).requires_grad_(True)
    compact(waveforms)["logits"].square().mean().backward()
    for name, weight in compact.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 0, name
