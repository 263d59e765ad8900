"""PyTorch's files: read as tensors, and never run."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from otoscribe.errors import WeightsError
from otoscribe.model.encoders.aisfx import NUMPY_NUMBERS
from otoscribe.model.weights.torch_file import folded, read_torch, take


class Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_both_forms_of_files_load(tmp_path: Path, zipped: bool) -> None:
    state = {"layer.weight": torch.rand(3, 4), "layer.bias": torch.rand(3)}
    torch.save(state, tmp_path / "some.pt", _use_new_zipfile_serialization=zipped)
    found = read_torch(tmp_path / "some.pt")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_not_run(tmp_path: Path, zipped: bool) -> None:
    made = tmp_path / "made"
    torch.save({"layer": Harmful(made)}, tmp_path / "some.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"no PyTorch file of weights alone \(.*\)\. Download it again\.$"):
        read_torch(tmp_path / "some.pt")
    assert not made.exists()


def test_numbers_of_numpy_load_only_where_they_are_expected(tmp_path: Path) -> None:
    torch.save(({"a": torch.ones(2)}, {"b": np.int64(7)}), tmp_path / "some.pt")
    with pytest.raises(WeightsError, match="no PyTorch file of weights alone"):
        read_torch(tmp_path / "some.pt")
    scalar = np.int64(7).__reduce__()[0]
    names = [*NUMPY_NUMBERS, (scalar, f"{scalar.__module__}.{scalar.__name__}")]
    assert read_torch(tmp_path / "some.pt", names)[1] == {"b": 7}
    # For that one call.
    with pytest.raises(WeightsError):
        read_torch(tmp_path / "some.pt")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.95])
def test_a_truncated_file_is_refused(tmp_path: Path, zipped: bool, share: float) -> None:
    torch.save({"a": torch.rand(1000)}, tmp_path / "some.pt", _use_new_zipfile_serialization=zipped)
    whole = (tmp_path / "some.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(WeightsError, match=r"cut\.pt is damaged"):
        read_torch(tmp_path / "cut.pt")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, r"a\.weight is absent, expected shape \(2, 3\)"),
        ("text", r"a\.weight is absent"),
        (torch.ones(3, 2), r"a\.weight has shape \(3, 2\), expected shape \(2, 3\)"),
        (torch.full((2, 3), torch.nan), r"not finite numbers in a\.weight"),
    ],
)
def test_another_network_is_refused(value: object, message: str) -> None:
    state = {} if value is None else {"a.weight": value}
    with pytest.raises(WeightsError, match=message):
        take(state, "a.weight", (2, 3), Path("some.pt"))


@pytest.mark.parametrize("bias", [True, False])
def test_a_folded_convolution_computes_what_both_layers_do(bias: bool) -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(2, 5, 3, bias=bias), nn.BatchNorm2d(5, eps=0.01))
    for value in (*layers.parameters(), layers[1].running_mean):
        nn.init.normal_(value)
    nn.init.uniform_(layers[1].running_var, 0.5, 2.0)
    images = torch.rand(1, 2, 6, 6)
    state = dict(layers.state_dict())
    convolution = nn.Conv2d(2, 5, 3)
    weight, bias_value = folded(state, "0", "1", convolution, Path("some.pt"), epsilon=0.01)
    assert not state
    convolution.load_state_dict({"weight": weight, "bias": bias_value})
    torch.testing.assert_close(convolution(images), layers.eval()(images))
