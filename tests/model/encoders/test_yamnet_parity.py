"""YAMNet against Google's own code, at every depth: a failure points at the first stage that differs."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from otoscribe.model.encoders.yamnet import FRONT_END, Yamnet, outputs
from otoscribe.model.spectrogram import LogMel, mel_matrix
from otoscribe.model.weights.yamnet_files import EPSILON
from support.encoders import encoder_of
from support.formula_weights import SHA256

WAVES = ("a", "b", "c")
HOPS = {96: 0.0, 48: 0.5}


@pytest.fixture(scope="module")
def encoders(formula_file: Path) -> dict[int, Yamnet]:
    return {hop: encoder_of(formula_file, overlap=overlap) for hop, overlap in HOPS.items()}


def largest_error(value: Tensor, expected: np.ndarray) -> float:
    assert value.shape == expected.shape
    return float((value - torch.from_numpy(expected)).abs().max())


def padded(golden: dict[str, np.ndarray], wave: str, hop: int) -> Tensor:
    waveform = torch.from_numpy(golden[f"wave_{wave}"])
    return torch.nn.functional.pad(waveform, (0, int(golden[f"padded_len_{wave}_hop{hop}"]) - len(waveform)))


def test_the_formula_gives_the_weights_of_the_golden_values(formula_tensors: dict[str, np.ndarray]) -> None:
    together = b"".join(value.tobytes() for value in formula_tensors.values())
    assert hashlib.sha256(together).hexdigest() == SHA256


def test_mel_matrix(golden: dict[str, np.ndarray]) -> None:
    # TensorFlow computes in float32, which is where the difference comes from.
    np.testing.assert_allclose(mel_matrix(FRONT_END), golden["mel_matrix"], atol=1e-5)


@pytest.mark.parametrize(("wave", "tolerance"), [("a", 5e-4), ("b", 2e-3), ("c", 1e-5)])
def test_log_mel(golden: dict[str, np.ndarray], wave: str, tolerance: float) -> None:
    # b is a pure tone: most of its bands hold nothing but float32 rounding.
    log_mel = LogMel(FRONT_END)(padded(golden, wave, 48)[None])[0]
    assert largest_error(log_mel, golden[f"logmel_{wave}"]) < tolerance


@pytest.mark.parametrize("hop", HOPS)
@pytest.mark.parametrize("wave", WAVES)
def test_patches(golden: dict[str, np.ndarray], encoders: dict[int, Yamnet], wave: str, hop: int) -> None:
    waveform = torch.from_numpy(golden[f"wave_{wave}"])[None]
    patches = encoders[hop].patches(waveform)[0]
    assert len(patches) == golden[f"npatch_{wave}_hop{hop}"]
    for i, patch in enumerate(patches):
        expected = golden[f"logmel_{wave}"][i * hop : i * hop + 96]
        # At hop 0.96 s the waveform is padded further than the stored spectrogram.
        assert largest_error(patch[: len(expected)], expected) < 2e-3


def test_second_overlapping_patch(golden: dict[str, np.ndarray], encoders: dict[int, Yamnet]) -> None:
    patch = encoders[48].patches(torch.from_numpy(golden["wave_a"])[None])[0, 1]
    assert largest_error(patch, golden["patch_a_hop48_second"]) < 5e-4


def test_activations(
    golden: dict[str, np.ndarray], encoders: dict[int, Yamnet], formula_tensors: dict[str, np.ndarray]
) -> None:
    trunk = encoders[96].trunk
    seen: dict[str, Tensor] = {}

    def watch(module: torch.nn.Module, name: str) -> None:
        module.register_forward_hook(lambda _, __, output: seen.__setitem__(name, output))

    watch(trunk.first, "layer1")
    watch(trunk.depthwise[1], "layer3/depthwise_conv")
    watch(trunk.pointwise[5], "layer7/pointwise_conv")
    watch(trunk.pointwise[12], "layer14/pointwise_conv")
    trunk(torch.from_numpy(golden["logmel_a"][None, :96]))

    def normalised(activation: np.ndarray, layer: str) -> np.ndarray:
        """The golden value stands before batch normalisation, which our convolutions contain."""
        beta, mean, variance = (
            formula_tensors[f"{layer}/bn/{name}:0"] for name in ("beta", "moving_mean", "moving_variance")
        )
        return (activation - mean) / np.sqrt(variance + EPSILON) + beta

    def of(name: str, step: int) -> Tensor:
        return seen[name][0].permute(1, 2, 0)[::step, ::step]

    expected = normalised(golden["act_a0_layer1_conv_s4"], "layer1/conv")
    assert largest_error(of("layer1", 4), expected) < 2e-5
    assert largest_error(of("layer1", 4).relu(), golden["act_a0_layer1_relu_s4"]) < 2e-5
    expected = normalised(golden["act_a0_layer3_depthwise_s2"], "layer3/depthwise_conv")
    assert largest_error(of("layer3/depthwise_conv", 2), expected) < 2e-5
    assert largest_error(of("layer7/pointwise_conv", 1).relu(), golden["act_a0_layer7_relu"]) < 2e-5
    assert largest_error(of("layer14/pointwise_conv", 1).relu(), golden["act_a0_layer14_relu"]) < 5e-5


@pytest.mark.parametrize("hop", HOPS)
@pytest.mark.parametrize("wave", WAVES)
def test_outputs_from_stored_features(
    golden: dict[str, np.ndarray], encoders: dict[int, Yamnet], wave: str, hop: int
) -> None:
    log_mel = golden[f"logmel_{wave}"]
    starts = range(0, len(log_mel) - 95, hop)
    patches = torch.stack([torch.from_numpy(log_mel[start : start + 96]) for start in starts])
    found = outputs(encoders[hop].trunk, encoders[hop].classifier, patches)
    count = len(starts)
    embeddings = golden[f"emb_{wave}_hop{hop}"][:count]
    assert largest_error(found["embeddings"], embeddings) < 1e-5 * embeddings.max()
    scores = golden[f"scores_first8_{wave}_hop{hop}"][:count]
    assert largest_error(found["scores"][:, :8], scores) < 1e-5


@pytest.mark.parametrize("hop", HOPS)
@pytest.mark.parametrize("wave", WAVES)
def test_outputs_from_waveform(
    golden: dict[str, np.ndarray], encoders: dict[int, Yamnet], wave: str, hop: int
) -> None:
    found = encoders[hop](torch.from_numpy(golden[f"wave_{wave}"])[None])
    embeddings = golden[f"emb_{wave}_hop{hop}"]
    assert largest_error(found["embeddings"][0], embeddings) < 1e-4 * embeddings.max()
    assert largest_error(found["scores"][0, :, :8], golden[f"scores_first8_{wave}_hop{hop}"]) < 1e-4


def test_logits_are_what_scores_are_made_of(encoders: dict[int, Yamnet]) -> None:
    found = encoders[96](torch.rand(1, 16000) - 0.5)
    assert torch.equal(found["scores"], torch.sigmoid(found["logits"]))


@pytest.mark.parametrize("file", ["yamnet.h5", "yamnet.tflite"])
def test_real_weights_on_real_recordings(shared_data: Path, file: str) -> None:
    encoder = encoder_of(shared_data / "weights" / file, overlap=0.5)
    with np.load(shared_data / "golden" / "encoders" / "yamnet_real.npz") as arrays:
        names = [key.removesuffix("waveform_int16") for key in arrays if key.endswith("waveform_int16")]
        assert len(names) == 4
        for name in names:
            waveform = torch.from_numpy(arrays[f"{name}waveform_int16"].astype(np.float32) / 32768)
            found = encoder(waveform[None])
            expected = arrays[f"{name}embeddings"]
            assert largest_error(found["embeddings"][0], expected) < 1e-4 * expected.max()
            assert largest_error(found["scores"][0], arrays[f"{name}scores"]) < 1e-4
