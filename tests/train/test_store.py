"""The store of computed tensors: each is computed once, and none is taken for another."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from otoscribe.errors import RunError
from otoscribe.files import sha256
from otoscribe.train import store as store_module
from otoscribe.train.store import Store

DESCRIPTION = {"encoder": "one", "overlap": 0.5, "version": 1}


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write(tmp_path / "a.wav", b"some sound")


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


class Computation:
    """Makes a tensor of a file's bytes, and counts."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self.times = 0

    def __call__(self, path: Path) -> torch.Tensor:
        self.times += 1
        return torch.tensor(list(path.read_bytes()), dtype=torch.float32).reshape(-1, 1) * self.scale

    def of(self, path: Path) -> torch.Tensor:
        return Computation(self.scale)(path)


def get(store: Store, path: Path) -> torch.Tensor:
    return store.get(path, sha256(path))


def test_a_recording_is_computed_once(tmp_path: Path, recording: Path) -> None:
    computation = Computation()
    for _ in range(2):
        # A new store stands for a new process.
        found = get(Store(tmp_path / "store", DESCRIPTION, computation), recording)
        assert torch.equal(found, computation.of(recording))
        assert found.dtype == torch.float32
    assert computation.times == 1


def test_the_same_sound_under_another_name_is_the_same_recording(tmp_path: Path, recording: Path) -> None:
    computation = Computation()
    store = Store(tmp_path / "store", DESCRIPTION, computation)
    copy = Path(shutil.copy(recording, tmp_path / "b.wav"))
    assert torch.equal(get(store, recording), get(store, copy))
    assert computation.times == 1


def test_another_sound_under_the_same_name_is_another_recording(tmp_path: Path, recording: Path) -> None:
    computation = Computation()
    store = Store(tmp_path / "store", DESCRIPTION, computation)
    before = get(store, recording)
    write(recording, b"other sound")
    assert not torch.equal(get(store, recording), before)
    assert torch.equal(get(store, recording), computation.of(recording))


@pytest.mark.parametrize(
    "change", [{"encoder": "two"}, {"overlap": 0.0}, {"version": 2}, {"more": None}], ids=str
)
def test_whatever_is_described_is_in_the_key(
    tmp_path: Path, recording: Path, change: dict[str, object]
) -> None:
    folder = tmp_path / "store"
    get(Store(folder, DESCRIPTION, Computation()), recording)
    other = Computation(2.0)
    assert torch.equal(get(Store(folder, {**DESCRIPTION, **change}, other), recording), other.of(recording))
    assert len(list(folder.rglob("*.safetensors"))) == 2


def flip_last_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        flip_last_byte,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-5]),
        lambda path: path.write_bytes(b"not safetensors, but long enough to be"),
    ],
    ids=["flipped", "empty", "truncated", "foreign"],
)
def test_a_damaged_file_is_told_and_computed_again(
    tmp_path: Path, recording: Path, damage: Callable[[Path], object]
) -> None:
    store = Store(tmp_path / "store", DESCRIPTION, Computation())
    features = get(store, recording)
    (path,) = (tmp_path / "store").rglob("*.safetensors")
    damage(path)
    with pytest.warns(UserWarning, match=r"damaged .* computed again"):
        assert torch.equal(get(store, recording), features)
    assert torch.equal(get(store, recording), features)


def test_a_file_moved_to_another_key_is_not_believed(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", DESCRIPTION, Computation())
    first, second = (write(tmp_path / f"{seed}.wav", bytes([seed])) for seed in (1, 2))
    get(store, first)
    (of_first,) = (tmp_path / "store").rglob("*.safetensors")
    features = get(store, second)
    (of_second,) = set((tmp_path / "store").rglob("*.safetensors")) - {of_first}
    shutil.copy(of_first, of_second)
    with pytest.warns(UserWarning, match="describes another recording"):
        assert torch.equal(get(store, second), features)


def test_a_failed_write_is_an_error_and_leaves_nothing(
    tmp_path: Path, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store", DESCRIPTION, Computation())

    def full_disk(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(store_module, "save_file", full_disk)
    with pytest.raises(RunError, match=r"cannot be stored .* No space left on device\. Free space"):
        get(store, recording)
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]


def test_a_folder_that_is_a_file_is_an_error(tmp_path: Path, recording: Path) -> None:
    with pytest.raises(RunError, match="choose another folder"):
        get(Store(recording, DESCRIPTION, Computation()), recording)
