"""Every registered adapter passes these; a new file in model/adapters is tested without a change here."""

import pytest
import torch
from torch import Tensor

from otoscribe.errors import UsageError
from otoscribe.model.adapters.base import ADAPTERS, Adapter

FRAMES = (7, 4, 1)


@pytest.fixture(params=list(ADAPTERS))
def adapter(request: pytest.FixtureRequest) -> Adapter:
    kind = ADAPTERS[request.param]
    torch.manual_seed(1)
    return kind(kind.Settings(), width_of(kind)).eval()


def width_of(kind: type[Adapter]) -> int:
    return kind.input_width or 24


def clips(adapter: Adapter) -> list[Tensor]:
    """Features in [0, 1], so that adapters of scores can take them too."""
    generator = torch.Generator().manual_seed(2)
    return [torch.rand(frames, width_of(type(adapter)), generator=generator) for frames in FRAMES]


def batch(features: list[Tensor], padding: float) -> tuple[Tensor, Tensor]:
    padded = torch.nn.utils.rnn.pad_sequence(features, batch_first=True, padding_value=padding)
    lengths = torch.tensor([len(clip) for clip in features])
    return padded, torch.arange(padded.shape[1]) < lengths[:, None]


def real(memory: Tensor, mask: Tensor | None, row: int) -> Tensor:
    return memory[row] if mask is None else memory[row][mask[row]]


def test_memory_has_the_promised_width_and_a_mask_of_its_frames(adapter: Adapter) -> None:
    memory, mask, sources, *_ = adapter(*batch(clips(adapter), 0.0))
    assert memory.dtype == torch.float32
    assert memory.shape[0] == len(FRAMES)
    assert memory.shape[2] == adapter.width
    if mask is not None:
        assert mask.dtype == torch.bool
        assert mask.shape == memory.shape[:2]
        assert mask.any(dim=1).all()
    if sources is None:
        assert memory.shape[1] == max(FRAMES)


def test_sources_are_shares_of_real_frames(adapter: Adapter) -> None:
    features, frames = batch(clips(adapter), 0.5)
    memory, mask, sources, *_ = adapter(features, frames)
    if sources is None:
        return
    assert sources.shape == (*memory.shape[:2], features.shape[1])
    assert (sources >= 0).all()
    assert (sources.transpose(1, 2)[~frames] == 0).all()
    total = sources.sum(-1)
    assert (((total - 1).abs() < 1e-5) | (total == 0)).all()
    for row, clip in enumerate(clips(adapter)):
        _, alone_mask, alone_sources, *_ = adapter(clip[None], None)
        torch.testing.assert_close(
            real(sources, mask, row)[:, : len(clip)], real(alone_sources, alone_mask, 0)
        )


def test_a_batch_gives_what_each_clip_alone_gives(adapter: Adapter) -> None:
    memory, mask, *_ = adapter(*batch(clips(adapter), 0.0))
    for row, clip in enumerate(clips(adapter)):
        alone, alone_mask, *_ = adapter(clip[None], None)
        torch.testing.assert_close(real(memory, mask, row), real(alone, alone_mask, 0), rtol=1e-5, atol=1e-5)


def test_what_stands_in_padded_frames_changes_nothing(adapter: Adapter) -> None:
    memory, mask, *_ = adapter(*batch(clips(adapter), 0.0))
    other, other_mask, *_ = adapter(*batch(clips(adapter), 0.9))
    for row in range(len(FRAMES)):
        assert torch.equal(real(memory, mask, row), real(other, other_mask, row))


def test_memory_depends_on_real_frames(adapter: Adapter) -> None:
    features = clips(adapter)
    memory, *_ = adapter(features[0][None], None)
    other, *_ = adapter(1.0 - features[0][None], None)
    assert memory.shape != other.shape or not torch.equal(memory, other)


def test_gradient_reaches_every_weight_and_no_padded_frame(adapter: Adapter) -> None:
    padded, mask = batch(clips(adapter), 0.5)
    padded.requires_grad_(True)
    memory, memory_mask, *_ = adapter.train()(padded, mask)
    torch.manual_seed(3)
    values = torch.cat([real(memory, memory_mask, row).flatten() for row in range(len(FRAMES))])
    (values * torch.randn_like(values)).sum().backward()
    for name, weight in adapter.named_parameters():
        if weight.requires_grad:
            assert weight.grad is not None, name
            # Adding the same to every key moves no attention weight.
            assert weight.grad.abs().max() > 0 or name.endswith("key.bias"), name
    if padded.grad is not None:
        assert padded.grad[mask].abs().max() > 0
        assert padded.grad[~mask].abs().max() == 0


def test_features_of_another_width_are_refused_where_only_one_fits(adapter: Adapter) -> None:
    if adapter.input_width is None:
        assert type(adapter)(adapter.settings, 10).eval()(torch.rand(1, 3, 10), None)[0].shape[1] == 3
        return
    with pytest.raises(UsageError, match=str(adapter.input_width)):
        type(adapter)(adapter.settings, adapter.input_width + 1)
