from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from otoscribe.learn.encoders import ENCODERS
from otoscribe.learn.encoders.compact_yamnet import CompactYamnet
from otoscribe.learn.encoders.compact_yamnet_voice import CompactYamnetVoice


@pytest.fixture
def compact() -> CompactYamnet:
    torch.manual_seed(0)
    return CompactYamnet(0.5)


def voices(*hertz: float, samples: int = 40000) -> torch.Tensor:
    time = torch.arange(samples) / 16000
    return torch.stack(
        [sum((torch.sin(2 * torch.pi * k * f * time) / k for k in range(1, 9)), 0 * time) / 5 for f in hertz]
    )


def test_hearing_is_the_logits_then_the_pitch(compact: CompactYamnet) -> None:
    encoder = CompactYamnetVoice.from_compact(compact)
    expected, found = compact(voices(110.0, 220.0)), encoder(voices(110.0, 220.0))
    for name, value in expected.items():
        assert torch.equal(found[name], value)
    assert torch.equal(found["hearing"][..., :521], expected["logits"])
    low, high, voiced = found["hearing"][:, 0, 521:].unbind(-1)
    torch.testing.assert_close(low, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(high, torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(voiced, torch.ones(2))


def test_what_a_compact_yamnet_saves_it_loads(tmp_path: Path) -> None:
    compact = CompactYamnet(0.5, fraction=1 / 16, classifier_rank=40)
    compact.save(tmp_path / "compact.safetensors")
    encoder = CompactYamnetVoice.load(tmp_path / "compact.safetensors", 0.5)
    assert encoder.overlap == 0.5
    assert torch.equal(encoder(voices(110.0))["logits"], compact(voices(110.0))["logits"])


def test_its_state_at_the_default_ranks_restores_it(compact: CompactYamnet) -> None:
    encoder = CompactYamnetVoice.from_compact(compact)
    restored = ENCODERS["compact_yamnet_voice"](0.5)
    restored.load_state_dict(encoder.state_dict())
    assert torch.equal(restored(voices(110.0))["hearing"], encoder(voices(110.0))["hearing"])


def test_a_thawed_network_is_frozen_again(compact: CompactYamnet) -> None:
    encoder = CompactYamnetVoice.from_compact(compact.train().requires_grad_(True))
    assert not any(module.training for module in encoder.modules())
    assert not any(weight.requires_grad for weight in encoder.parameters())


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_logits_and_pitch_join_in_an_exported_graph_of_any_length(
    tmp_path: Path, compact: CompactYamnet
) -> None:
    # The trunk takes most of the time to export, and every bundle's test exports it.
    compact.trunk = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(96 * 64, 1024))
    encoder = CompactYamnetVoice.from_compact(compact)
    torch.onnx.export(
        encoder,
        (torch.zeros(1, 40000),),
        tmp_path / "encoder.onnx",
        output_names=list(encoder.spec.outputs),
        dynamic_shapes={"waveforms": {1: torch.export.Dim("samples", min=1, max=2**31)}},
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx", providers=["CPUExecutionProvider"])
    for samples in (1, 15601, 53211):
        waveform = voices(120.0, samples=samples)
        (found,) = session.run(["hearing"], {"waveforms": waveform.numpy()})
        np.testing.assert_allclose(found, encoder(waveform)["hearing"].numpy(), atol=1e-4)
