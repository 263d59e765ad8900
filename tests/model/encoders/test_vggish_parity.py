"""VGGish against Google's own code with formula weights, at every depth."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from otoscribe.model.encoders.vggish import FRONT_END, Vggish, VggishSettings
from otoscribe.model.spectrogram import LogMel
from support.formula_tensors import (
    GOLDEN,
    Tensors,
    assert_they_are_the_official_ones,
    golden_of,
    largest_error,
    tensors_of,
)
from support.tf_table import write_checkpoint

WAVES = ("a", "c")
HOPS = {96: 0.0, 48: 0.5}
SCALE = 25.0
"""Of the embeddings."""
TORCH_NAMES = {
    **{f"features.{i}": name for i, name in ((0, "conv1"), (3, "conv2"), (6, "conv3/conv3_1"))},
    **{
        f"features.{i}": f"{name[:5]}/{name}"
        for i, name in ((8, "conv3_2"), (11, "conv4_1"), (13, "conv4_2"))
    },
    "embeddings.0": "fc1/fc1_1",
    "embeddings.2": "fc1/fc1_2",
    "embeddings.4": "fc2",
}


@pytest.fixture(scope="module")
def golden() -> Tensors:
    return golden_of("vggish")


@pytest.fixture(scope="module")
def torch_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the weights as torchvggish does."""
    state = {}
    for ours, theirs in TORCH_NAMES.items():
        kernel = torch.from_numpy(tensors_of("vggish")[f"vggish/{theirs}/weights"])
        state[f"{ours}.weight"] = kernel.permute(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
        state[f"{ours}.bias"] = torch.from_numpy(tensors_of("vggish")[f"vggish/{theirs}/biases"])
    path = tmp_path_factory.mktemp("vggish") / "formula.pth"
    torch.save(state, path)
    return path


def state_of(path: Path) -> dict[str, torch.Tensor]:
    pca = GOLDEN / "vggish_pca_formula.npz"
    with torch.device("meta"):  # as large as it is, it need not be filled with random weights first
        encoder = Vggish(VggishSettings())
    return encoder.state_of({path.name: path, "vggish_pca_params.npz": pca})


@pytest.fixture(scope="module")
def encoders(torch_file: Path) -> dict[int, Vggish]:
    plain = Vggish(VggishSettings())
    plain.load_state_dict(state_of(torch_file), assign=True)
    plain.eval().requires_grad_(False)
    overlapping = copy.copy(plain)
    overlapping._modules = dict(plain._modules, patches=Vggish(VggishSettings(overlap=0.5)).patches)
    return {96: plain, 48: overlapping}


def test_the_formula_gives_the_weights_of_the_golden_values() -> None:
    assert_they_are_the_official_ones("vggish")


@pytest.mark.slow
def test_both_official_files_hold_the_same_weights(torch_file: Path, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "formula.ckpt", tensors_of("vggish"))
    state, other = state_of(torch_file), state_of(tmp_path / "formula.ckpt")
    assert state.keys() == other.keys()
    assert all(torch.equal(state[name], other[name]) for name in state)


@pytest.mark.parametrize("wave", ["a", "b", "c"])
def test_log_mel(golden: Tensors, wave: str) -> None:
    found = LogMel(FRONT_END)(torch.from_numpy(golden[f"wave_{wave}"])[None])[0]
    assert largest_error(found, golden[f"logmel_{wave}"]) < 2e-4


def test_second_overlapping_patch(golden: Tensors, encoders: dict[int, Vggish]) -> None:
    patch = encoders[48].patches(torch.from_numpy(golden["wave_a"])[None])[0, 1]
    assert largest_error(patch, golden["example_a_hop48_index1"]) < 2e-4


def test_activations(golden: Tensors, encoders: dict[int, Vggish]) -> None:
    encoder = encoders[96]
    seen: dict[str, torch.Tensor] = {}
    layers = {"conv1": encoder.convolutions[0], "conv3_1": encoder.convolutions[2], "fc1_1": encoder.dense[0]}
    for name, layer in {**layers, "fc1_2": encoder.dense[1]}.items():
        layer.register_forward_hook(
            lambda _, inputs, output, name=name: seen.update({name: output.relu(), f"to {name}": inputs[0]})
        )
    encoder.embed(torch.from_numpy(golden["logmel_a"][None, :96]))

    def pixels(name: str, step: int) -> torch.Tensor:
        return seen[name][0].permute(1, 2, 0)[::step, ::step]

    assert largest_error(pixels("conv1", 4), golden["act_a0_conv1_relu_s4"]) < 1e-5
    assert largest_error(pixels("to conv3_1", 4), golden["act_a0_pool2_s4"]) < 5e-5
    assert largest_error(seen["to fc1_1"][0].reshape(6, 4, 512), golden["act_a0_pool4"]) < 2e-4
    assert largest_error(seen["fc1_1"][0], golden["act_a0_fc1_1_relu"]) < 5e-4
    assert largest_error(seen["fc1_2"][0], golden["act_a0_fc1_2_relu"]) < 5e-4


@pytest.mark.parametrize("hop", HOPS)
@pytest.mark.parametrize("wave", WAVES)
def test_embeddings_from_stored_features(
    golden: Tensors, encoders: dict[int, Vggish], wave: str, hop: int
) -> None:
    log_mel = torch.from_numpy(golden[f"logmel_{wave}"])
    patches = log_mel.unfold(0, 96, hop).transpose(1, 2)  # [patches, 96, 64]
    assert largest_error(encoders[hop].embed(patches), golden[f"emb_{wave}_hop{hop}"]) < 1e-5 * SCALE


@pytest.mark.parametrize("hop", HOPS)
@pytest.mark.parametrize("wave", WAVES)
def test_both_readings_from_waveforms(
    golden: Tensors, encoders: dict[int, Vggish], wave: str, hop: int
) -> None:
    found = encoders[hop](torch.from_numpy(golden[f"wave_{wave}"])[None])
    assert largest_error(found["embeddings"][0], golden[f"emb_{wave}_hop{hop}"]) < 1e-4 * SCALE
    assert largest_error(found["rectified"][0], golden[f"emb_relu_{wave}_hop{hop}"]) < 1e-4 * SCALE
    assert not torch.equal(found["embeddings"], found["rectified"])


def test_a_short_clip_is_filled_up(golden: Tensors, encoders: dict[int, Vggish]) -> None:
    # The published code refuses it; it was given the clip with zeros at its end.
    for encoder in encoders.values():
        found = encoder(torch.from_numpy(golden["wave_b"])[None])
        assert largest_error(found["embeddings"][0], golden["emb_bpad15600_hop96"]) < 1e-3 * SCALE
        assert largest_error(found["rectified"][0], golden["emb_relu_bpad15600_hop96"]) < 1e-3 * SCALE


@pytest.mark.parametrize("wave", WAVES)
def test_principal_components(golden: Tensors, encoders: dict[int, Vggish], wave: str) -> None:
    # Published as whole numbers, cut off after the point: at most one off where rounding decides.
    encoder, expected = encoders[96], golden[f"postproc_{wave}_hop96"].astype(np.float32)
    stored = encoder.postprocess(torch.from_numpy(golden[f"emb_{wave}_hop96"])).floor()
    assert largest_error(stored, expected) <= 1.0
    assert (stored.numpy() != expected).mean() < 0.01
    assert ((expected > 0) & (expected < 255)).mean() > 0.02
    found = encoder(torch.from_numpy(golden[f"wave_{wave}"])[None])
    assert largest_error(found["postprocessed"][0].floor(), expected) <= 1.0
    rectified = encoder.postprocess(found["rectified"])
    assert torch.equal(found["rectified_postprocessed"], rectified)
