"""TensorFlow V1 checkpoints: one that TensorFlow wrote, and damaged ones."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from otoscribe.errors import WeightsError
from otoscribe.model.weights.tf_checkpoint import read_checkpoint
from support.formula_tensors import GOLDEN, listed
from support.tf_table import write_checkpoint

WRITTEN = GOLDEN / "vggish_v1_partial.ckpt"


def test_what_tensorflow_wrote() -> None:
    found = read_checkpoint(WRITTEN)
    known = {str(entry["name"]): entry for entry in listed("vggish")}
    assert len(found) == 5
    for name, value in found.items():
        assert list(value.shape) == known[name]["shape"]
        assert hashlib.sha256(value.tobytes()).hexdigest() == known[name]["sha256"]


def test_names_that_share_their_beginnings(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tensors = {f"a{'b' * n}/weights": rng.standard_normal((n, 2)).astype(np.float32) for n in (1, 2, 130)}
    write_checkpoint(tmp_path / "some.ckpt", tensors)
    found = read_checkpoint(tmp_path / "some.ckpt")
    assert found.keys() == tensors.keys()
    assert all(np.array_equal(found[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize(
    ("written", "message"),
    [({"compression": 1}, "it is compressed"), ({"pieces": 2}, "a/weights is not stored in one piece")],
)
def test_what_is_not_read_is_refused(tmp_path: Path, written: dict[str, int], message: str) -> None:
    path = tmp_path / "some.ckpt"
    write_checkpoint(path, {"a/weights": np.ones((4, 3), np.float32)}, **written)
    with pytest.raises(WeightsError, match=message):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"no table", bytes(48), bytes(40) + WRITTEN.read_bytes()[-8:]])
def test_a_file_of_no_weights_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "some.ckpt").write_bytes(content)
    with pytest.raises(WeightsError, match=r"some\.ckpt is damaged or no TensorFlow V1 checkpoint \(.*\.$"):
        read_checkpoint(tmp_path / "some.ckpt")


@pytest.mark.parametrize("share", [0.001, 0.3, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    whole = WRITTEN.read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(WeightsError, match="cut"):
        read_checkpoint(tmp_path / "cut.ckpt")


def test_a_file_with_flipped_bytes_is_refused_or_loads_as_numbers(tmp_path: Path) -> None:
    whole = WRITTEN.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(100):
        data = bytearray(whole)
        # Keys and shapes stand at both ends; the middle is weights.
        places = np.concatenate([rng.integers(0, 600, 3), rng.integers(len(data) - 400, len(data), 3)])
        for place in places:
            data[place] = rng.integers(256)
        (tmp_path / "flipped.ckpt").write_bytes(data)
        try:
            found = read_checkpoint(tmp_path / "flipped.ckpt")
        except WeightsError:
            refused += 1
        else:
            assert all(value.dtype == np.float32 for value in found.values())
    assert refused
