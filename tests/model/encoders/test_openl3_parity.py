"""OpenL3 against its authors' own code with formula weights, at every depth."""

import gzip
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from otoscribe.errors import WeightsError
from otoscribe.model.encoders.openl3 import Openl3, Openl3Settings
from support.formula_tensors import (
    Tensors,
    assert_they_are_the_official_ones,
    golden_of,
    largest_error,
    tensors_of,
    wave,
)
from support.keras_layers import write_layers

RATE = 48000
HOPS = {1.0: 0.0, 0.5: 0.5}
CENTRED = {"center": True, "nocenter": False}
SCALE = 215.0
"""Of the embeddings."""
Maker = Callable[[float, str], Openl3]


@pytest.fixture(scope="module")
def golden() -> Tensors:
    return golden_of("openl3")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("openl3") / "formula.h5"
    write_layers(path, tensors_of("openl3"))
    return path


@pytest.fixture(scope="module")
def made(file: Path) -> Maker:
    @cache
    def make(hop: float, centred: str) -> Openl3:
        encoder = Openl3(Openl3Settings(overlap=HOPS[hop], centred=CENTRED[centred]))
        encoder.load_state_dict(encoder.state_of({file.name: file}))
        return encoder.eval().requires_grad_(False)

    return make


def waveform(name: str) -> torch.Tensor:
    return torch.from_numpy(wave(name, RATE))[None]


def test_the_formula_gives_the_weights_of_the_golden_values() -> None:
    assert_they_are_the_official_ones("openl3")


def test_a_packed_file_holds_the_same_weights(file: Path, made: Maker, tmp_path: Path) -> None:
    packed = tmp_path / "formula.h5.gz"
    packed.write_bytes(gzip.compress(file.read_bytes(), 1))
    state = made(1.0, "center").state_of({packed.name: packed})
    assert all(torch.equal(state[name], value) for name, value in made(1.0, "center").state_dict().items())


# Most bands of the pure tone b hold nothing but float32 rounding, which decibels magnify.
@pytest.mark.parametrize(
    ("name", "largest", "typical"), [("a", 4e-3, 4e-3), ("b", 4.0, 0.5), ("c", 2e-4, 2e-4)]
)
def test_decibels(golden: Tensors, made: Maker, name: str, largest: float, typical: float) -> None:
    found = made(0.5, "center").decibels(waveform(name))[0]
    expected = golden[f"patch_{name}_hop0.5_center"]
    assert largest_error(found, expected) < largest
    assert np.quantile(np.abs(found.numpy() - expected), 0.99) < typical


def test_activations(golden: Tensors, made: Maker) -> None:
    encoder = made(1.0, "center")
    seen: dict[int, torch.Tensor] = {}
    for number, layer in enumerate(encoder.convolutions):
        layer.register_forward_hook(
            lambda _, inputs, output, number=number: seen.update(
                {number: inputs[0][0], -number - 1: output[0]}
            )
        )
    encoder.images(torch.from_numpy(golden["patch_a_hop0.5_center"][2:3]))

    def pixels(place: int, step: int) -> torch.Tensor:
        return seen[place].permute(1, 2, 0)[::step, ::step]

    assert largest_error(pixels(0, 4)[..., 0], golden["act_a1_input_bn"]) < 1e-4
    assert largest_error(pixels(2, 8), golden["act_a1_block1_pool_s8"]) < 5e-4
    assert largest_error(pixels(6, 4), golden["act_a1_block3_pool_s4"]) < 2e-3
    assert largest_error(pixels(-8, 4), golden["act_a1_embedding_layer_s4"]) < 2e-3


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_embeddings_from_stored_features(golden: Tensors, made: Maker, name: str) -> None:
    images = made(0.5, "center").images(torch.from_numpy(golden[f"patch_{name}_hop0.5_center"]))
    assert largest_error(images.amax(dim=(2, 3)), golden[f"emb_{name}_hop0.5_center"]) < 1e-5 * SCALE


@pytest.mark.slow
@pytest.mark.parametrize("centred", CENTRED)
@pytest.mark.parametrize("hop", HOPS)
@pytest.mark.parametrize(("name", "tolerance"), [("a", 1e-4), ("b", 2e-3), ("c", 1e-4)])
def test_embeddings_from_waveforms(
    golden: Tensors, made: Maker, name: str, tolerance: float, hop: float, centred: str
) -> None:
    encoder = made(hop, centred)
    found = encoder(waveform(name))["embeddings"][0]
    key = f"{name}_hop{hop}_{centred}"
    assert largest_error(found, golden[f"emb_{key}"]) < tolerance * SCALE
    # OpenL3's times are those of the middle, or else of the beginning.
    begins = np.array([begin for begin, _ in encoder.times(waveform(name).shape[1])])
    assert np.allclose(begins + (0.5 if CENTRED[centred] else 0.0), golden[f"ts_{key}"])


def test_the_wider_embedding(golden: Tensors, made: Maker) -> None:
    found = made(1.0, "center")(waveform("a"))["embeddings_6144"][0, :1]
    assert largest_error(found, golden["emb6144_a_hop1.0_center_first1"]) < 1e-4 * SCALE


@pytest.mark.parametrize("drop", ["batch_normalization_3", "conv2d_7", "audio_embedding_layer"])
def test_a_file_with_a_layer_less_is_refused(made: Maker, tmp_path: Path, drop: str) -> None:
    tensors = {name: value for name, value in tensors_of("openl3").items() if not name.startswith(drop)}
    write_layers(tmp_path / "other.h5", tensors)
    with pytest.raises(WeightsError, match=r"other\.h5 holds another network: .*, expected shape"):
        made(1.0, "center").state_of({"other.h5": tmp_path / "other.h5"})


def test_a_file_with_a_layer_more_is_refused(made: Maker, tmp_path: Path) -> None:
    tensors = {**tensors_of("openl3"), "more/kernel:0": np.zeros((3, 3, 1, 1)), "more/bias:0": np.zeros(1)}
    write_layers(tmp_path / "other.h5", tensors)
    with pytest.raises(WeightsError, match="it has more layers"):
        made(1.0, "center").state_of({"other.h5": tmp_path / "other.h5"})
