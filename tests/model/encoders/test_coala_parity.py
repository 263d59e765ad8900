"""COALA against its authors' own code with formula weights, at every depth."""

from pathlib import Path

import numpy as np
import pytest
import torch

from otoscribe.model.encoders.coala import CENTRING, FRONT_END, SHORTEST, Coala, CoalaSettings
from otoscribe.model.spectrogram import LogMel
from otoscribe.model.weights.coala_scaler import OFFSET, SCALE
from support.formula_tensors import (
    Tensors,
    assert_they_are_the_official_ones,
    golden_of,
    largest_error,
    tensors_of,
    wave,
)

RATE = 22000
HOPS = {96: 0.0, 48: 0.5}
# The pure tone b and the silence after it hold little but float32 rounding.
TOLERANCES = {"a": 1e-4, "b": 2e-3, "c": 1e-4, "d": 1e-4}
LARGEST = 1.8
"""Scale of the embeddings."""


@pytest.fixture(scope="module")
def golden() -> Tensors:
    return golden_of("coala")


@pytest.fixture(scope="module", params=[True, False], ids=["zip", "before PyTorch 1.6"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("coala") / "formula.pt"
    state = {name: torch.from_numpy(value) for name, value in tensors_of("coala").items()}
    torch.save(state, path, _use_new_zipfile_serialization=request.param)
    return path


@pytest.fixture(scope="module")
def encoders(file: Path) -> dict[int, Coala]:
    found = {}
    for hop, overlap in HOPS.items():
        found[hop] = Coala(CoalaSettings(overlap=overlap))
        found[hop].load_state_dict(found[hop].state_of({file.name: file}))
        found[hop].eval().requires_grad_(False)
    return found


def waveform(name: str, noise: bool = False) -> torch.Tensor:
    """Return a waveform, and with noise what the published code makes of it after `numpy.random.seed(0)`."""
    samples = wave(name, RATE)
    if noise:
        samples = np.pad(samples, (0, SHORTEST - len(samples)))
        samples = samples + np.float32(5e-4) * np.random.RandomState(0).rand(SHORTEST).astype(np.float32)
    return torch.from_numpy(samples)[None]


def test_the_formula_gives_the_weights_of_the_golden_values() -> None:
    assert_they_are_the_official_ones("coala")


def test_the_scaler_is_the_published_one(golden: Tensors) -> None:
    assert np.array_equal(np.array(SCALE, np.float32), golden["scaler_scale"])
    assert np.array_equal(np.array(OFFSET, np.float32), golden["scaler_min"])


@pytest.mark.parametrize(
    ("name", "noise", "largest"),
    [("a", False, 3e-4), ("a", True, 3e-4), ("b", False, 0.4), ("c", False, 1e-5), ("d", False, 5e-4)],
)
def test_log_mel(golden: Tensors, name: str, noise: bool, largest: float) -> None:
    samples = waveform(name, noise)
    filled = torch.nn.functional.pad(samples, (0, max(0, SHORTEST - samples.shape[1])))
    mirrored = torch.nn.functional.pad(filled[:, None], (CENTRING, CENTRING), mode="reflect")[:, 0]
    found = LogMel(FRONT_END)(mirrored)[0].T
    assert largest_error(found, golden[f"logmel_{name}_{'seed0' if noise else 'nonoise'}"]) < largest


def test_scaled_patches(golden: Tensors, encoders: dict[int, Coala]) -> None:
    seen: list[torch.Tensor] = []
    for encoder in encoders.values():
        encoder.convolutions[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][:, 0]))
        encoder(waveform("d"))
    assert largest_error(seen[0][:2], golden["scaled_patch_d_hop96_first2"]) < 1e-4
    assert largest_error(seen[1][1], golden["scaled_patch_d_hop48_second"]) < 1e-4


def test_activations(golden: Tensors, encoders: dict[int, Coala]) -> None:
    seen: list[torch.Tensor] = []
    for convolution in encoders[96].convolutions:
        convolution.register_forward_hook(lambda _, __, output: seen.append(output[0].relu()))
    encoders[96].embed(torch.from_numpy(golden["scaled_patch_d_hop96_first2"][:1]).transpose(1, 2))
    tensors = tensors_of("coala")
    gamma, beta, mean, variance = (
        tensors[f"audio_encoder.1.{part}"][:16, None, None]
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    # The golden value stands before batch normalisation, which our convolutions contain.
    before = golden["act_d0_conv1_pre_bn_c0_16_s4"]
    normalised = np.maximum((before - mean) / np.sqrt(variance + 1e-5) * gamma + beta, 0.0)
    assert largest_error(seen[0][:16, ::4, ::4], normalised) < 1e-5
    assert largest_error(seen[0][:16, ::4, ::4], golden["act_d0_block1_relu_c0_16_s4"]) < 1e-5
    assert largest_error(seen[2], golden["act_d0_block3_relu"]) < 1e-5
    assert largest_error(seen[4], golden["act_d0_block5_relu"]) < 1e-5


@pytest.mark.parametrize("hop", HOPS)
@pytest.mark.parametrize("name", TOLERANCES)
def test_outputs_from_stored_features(
    golden: Tensors, encoders: dict[int, Coala], name: str, hop: int
) -> None:
    log_mel = torch.from_numpy(golden[f"logmel_{name}_nonoise"])
    patches = log_mel.T.unfold(0, 96, hop).transpose(1, 2)  # [patches, 96 frames, 96 bands]
    scaled = patches * encoders[hop].scale[:, None] + encoders[hop].offset[:, None]
    found = encoders[hop].embed(scaled)
    assert largest_error(found, golden[f"emb_{name}_nonoise_hop{hop}"]) < 1e-5 * LARGEST
    aligned = encoders[hop].projection(found)
    assert largest_error(aligned, golden[f"embd_{name}_nonoise_hop{hop}"]) < 1e-5 * LARGEST


@pytest.mark.parametrize("hop", HOPS)
@pytest.mark.parametrize("name", TOLERANCES)
@pytest.mark.parametrize("noise", [False, True])
def test_outputs_from_waveforms(
    golden: Tensors, encoders: dict[int, Coala], name: str, noise: bool, hop: int
) -> None:
    if noise and name == "d":
        pytest.skip("The published code adds no noise to a clip of more than 10 s.")
    found = encoders[hop](waveform(name, noise))
    key, tolerance = f"{name}_{'seed0' if noise else 'nonoise'}_hop{hop}", TOLERANCES[name] * LARGEST
    assert largest_error(found["embeddings"][0], golden[f"emb_{key}"]) < tolerance
    assert largest_error(found["aligned"][0], golden[f"embd_{key}"]) < tolerance
