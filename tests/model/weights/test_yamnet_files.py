from pathlib import Path

import numpy as np
import pytest
import torch

from otoscribe.errors import WeightsError
from otoscribe.model.weights.tflite import CONVOLUTION, quantised_layers
from otoscribe.model.weights.yamnet_files import read_weights
from support.encoders import encoder_of
from support.formula_weights import write_keras

Tensors = dict[str, np.ndarray]


def test_both_names_of_the_last_layer_load(
    formula_file: Path, formula_tensors: Tensors, tmp_path: Path
) -> None:
    write_keras(tmp_path / "dense.h5", formula_tensors, last_layer="dense")
    state, other = (encoder_of(path).state_dict() for path in (formula_file, tmp_path / "dense.h5"))
    assert state.keys() == other.keys()
    assert all(torch.equal(state[name], other[name]) for name in state)


def test_quantised_and_float_files_hold_the_same_weights(shared_data: Path) -> None:
    state, other = (
        encoder_of(shared_data / "weights" / f"yamnet.{kind}").state_dict() for kind in ("h5", "tflite")
    )
    assert len(state) == 2 * 28
    for name, value in state.items():
        torch.testing.assert_close(other[name], value, rtol=1e-6, atol=1e-7)


def broken(tensors: Tensors, name: str, value: np.ndarray | None) -> Tensors:
    changed = {key: tensor for key, tensor in tensors.items() if key != name}
    return changed if value is None else {**changed, name: value}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("layer9/pointwise_conv/bn/beta:0", None, r"layer9/pointwise_conv/bn/beta:0 is absent"),
        ("logits/bias:0", np.zeros(520, np.float32), r"shape \(520,\), expected shape \(521,\)"),
        ("layer15/conv/kernel:0", np.zeros(1, np.float32), r"also holds layer15/conv"),
        ("layer1/conv/bn/beta:0", np.full(32, np.nan, np.float32), r"not finite numbers in trunk\.first"),
    ],
)
def test_another_network_is_refused(
    formula_tensors: Tensors, tmp_path: Path, name: str, value: np.ndarray | None, message: str
) -> None:
    path = tmp_path / "other.h5"
    write_keras(path, broken(formula_tensors, name, value))
    with pytest.raises(WeightsError, match=message):
        read_weights(path)


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_a_file_of_no_weights_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights").write_bytes(content)
    with pytest.raises(WeightsError, match=r"weights.*\.$"):
        read_weights(tmp_path / "weights")


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9])
@pytest.mark.parametrize("kind", ["h5", "tflite"])
def test_a_truncated_file_is_refused(shared_data: Path, tmp_path: Path, kind: str, share: float) -> None:
    whole = (shared_data / "weights" / f"yamnet.{kind}").read_bytes()
    path = tmp_path / f"cut.{kind}"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(WeightsError, match=r"cut.*\.$"):
        read_weights(path)


def test_a_file_with_flipped_bytes_is_refused_or_loads_as_numbers(shared_data: Path, tmp_path: Path) -> None:
    whole = (shared_data / "weights" / "yamnet.tflite").read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "flipped.tflite"
    refused = 0
    for _ in range(40):
        data = bytearray(whole)
        # Tables and shapes stand at both ends; the middle is weights.
        places = np.concatenate([rng.integers(8, 3000, 3), rng.integers(len(data) - 60000, len(data), 3)])
        for place in places:
            data[place] = rng.integers(256)
        path.write_bytes(data)
        try:
            layers = quantised_layers(path)
        except WeightsError:
            refused += 1
        else:
            assert all(layer.kernel.dtype == np.float64 for layer in layers)
    assert refused


def test_quantised_layers_are_the_networks_in_order(shared_data: Path) -> None:
    layers = quantised_layers(shared_data / "weights" / "yamnet.tflite")
    assert len(layers) == 28
    assert layers[0].operator == CONVOLUTION
    assert layers[0].kernel.shape == (32, 3, 3, 1)
    assert layers[-1].kernel.shape == (521, 1024)
    # Every weight is a whole multiple of its channel's scale, at most 128 of them.
    steps = np.unique(np.abs(layers[-2].kernel[0]))
    assert 1 < len(steps) <= 129
