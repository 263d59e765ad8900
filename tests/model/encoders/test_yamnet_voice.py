from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from otoscribe.model.encoders.base import Encoder
from support.encoders import encoder_of, random_encoder
from support.tiny_trunk import TinyTrunk


def pair(gain: float = 1.0) -> tuple[Encoder, Encoder]:
    """Return both encoders with the same random weights, those of convolutions times a gain."""
    plain, voice = random_encoder("yamnet", 0.5), random_encoder("yamnet_voice", 0.5)
    for weight in plain.trunk.parameters():
        weight *= gain
    voice.load_state_dict(plain.state_dict())
    return plain, voice


def voices(*hertz: float, samples: int = 40000) -> torch.Tensor:
    time = torch.arange(samples) / 16000
    return torch.stack(
        [sum((torch.sin(2 * torch.pi * k * f * time) / k for k in range(1, 9)), 0 * time) / 5 for f in hertz]
    )


def largest_activation(encoder: Encoder, waveforms: torch.Tensor) -> float:
    found: list[float] = []
    hook = encoder.trunk.activation.register_forward_hook(
        lambda _, __, output: found.append(float(output.max()))
    )
    encoder(waveforms)
    hook.remove()
    assert len(found) == 27
    return max(found)


def test_hearing_is_the_logits_then_the_pitch() -> None:
    found = pair()[1](voices(110.0, 220.0))
    assert torch.equal(found["hearing"][..., :521], found["logits"])
    low, high, voiced = found["hearing"][:, 0, 521:].unbind(-1)
    torch.testing.assert_close(low, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(high, torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(voiced, torch.ones(2))


def test_it_is_yamnet_where_no_activation_exceeds_6() -> None:
    plain, voice = pair(gain=0.5)
    assert 0.0 < largest_activation(plain, voices(110.0)) < 6.0
    found = voice(voices(110.0))
    for name, expected in plain(voices(110.0)).items():
        assert torch.equal(found[name], expected)


def test_it_is_yamnet_with_activations_cut_at_6_where_one_exceeds_that() -> None:
    plain, voice = pair(gain=3.0)
    assert largest_activation(plain, voices(110.0)) > 6.0
    found = voice(voices(110.0))["embeddings"]
    assert not torch.allclose(found, plain(voices(110.0))["embeddings"], rtol=0.01)
    plain.trunk.activation = nn.Hardtanh(0.0, 6.0)
    torch.testing.assert_close(found, plain(voices(110.0))["embeddings"])


def test_it_loads_the_files_of_yamnet(formula_file: Path) -> None:
    voice = encoder_of(formula_file, "yamnet_voice", 0.5)
    expected = encoder_of(formula_file).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in voice.state_dict().items())


def test_its_state_restores_it() -> None:
    voice = pair()[1]
    restored = random_encoder("yamnet_voice", 0.5, seed=1)
    assert not torch.equal(restored(voices(110.0))["hearing"], voice(voices(110.0))["hearing"])
    restored.load_state_dict(voice.state_dict())
    assert torch.equal(restored(voices(110.0))["hearing"], voice(voices(110.0))["hearing"])


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.slow
def test_logits_and_pitch_join_in_an_exported_graph_of_any_length(tmp_path: Path) -> None:
    # The trunk takes most of the time to export.
    encoder = random_encoder("yamnet_voice", 0.5)
    encoder.trunk = TinyTrunk(nn.ReLU6()).requires_grad_(False)
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
