import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from otoscribe.audio import reading
from otoscribe.errors import AudioError, RunError, UsageError
from otoscribe.model.encoders import yamnet
from otoscribe.model.encoders.yamnet import Yamnet
from otoscribe.train import store as store_module
from otoscribe.train.store import Store, weights_sha256
from support.tiny_trunk import TinyTrunk


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yamnet, "Trunk", TinyTrunk)
        yield


@pytest.fixture(scope="module")
def encoder(small: None) -> Yamnet:
    torch.manual_seed(0)
    return Yamnet(0.5)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return record(tmp_path / "a.wav", seed=0)


def record(path: Path, seed: int) -> Path:
    noise = 0.1 * np.random.default_rng(seed).standard_normal(16000 + 100 * seed)
    soundfile.write(path, noise, 16000)
    return path


@pytest.fixture
def encoded(encoder: Yamnet) -> Iterator[list[int]]:
    """One entry, the number of samples, for every clip that was encoded."""
    samples: list[int] = []
    hook = encoder.register_forward_pre_hook(lambda _, inputs: samples.append(inputs[0].shape[1]))
    yield samples
    hook.remove()


def expected(encoder: Yamnet, recording: Path, output: str) -> torch.Tensor:
    waveform = torch.from_numpy(reading.load(recording, 16000).waveform)
    return encoder(waveform[None])[output][0]


@pytest.mark.parametrize("output", ["embeddings", "scores"])
def test_a_recording_is_encoded_once(
    tmp_path: Path, encoder: Yamnet, recording: Path, encoded: list[int], output: str
) -> None:
    features = expected(encoder, recording, output)
    encoded.clear()
    for _ in range(2):
        # A new store stands for a new process.
        found = Store(tmp_path / "store", encoder, output)[recording]
        assert torch.equal(found, features)
        assert found.dtype == torch.float32
    assert encoded == [16000]


def test_the_same_sound_under_another_name_is_the_same_recording(
    tmp_path: Path, encoder: Yamnet, recording: Path, encoded: list[int]
) -> None:
    store = Store(tmp_path / "store", encoder, "scores")
    copy = Path(shutil.copy(recording, tmp_path / "b.wav"))
    assert torch.equal(store[recording], store[copy])
    assert len(encoded) == 1


def test_another_sound_under_the_same_name_is_another_recording(
    tmp_path: Path, encoder: Yamnet, recording: Path
) -> None:
    store = Store(tmp_path / "store", encoder, "scores")
    before = store[recording]
    record(recording, seed=1)
    assert not torch.equal(store[recording], before)
    assert torch.equal(store[recording], expected(encoder, recording, "scores"))


def variants(encoder: Yamnet) -> dict[str, Yamnet]:
    """The encoder with one thing changed that decides its outputs."""

    def changed(overlap: float = 0.5) -> Yamnet:
        other = Yamnet(overlap)
        other.load_state_dict(encoder.state_dict())
        return other

    weights, front_end, version, name = (changed() for _ in range(4))
    weights.classifier.bias.data[0] += 1.0
    spec = encoder.spec
    # The instance's spec hides the class's, which all others keep.
    front_end.spec = replace(spec, front_end=replace(spec.front_end, log_offset=0.01))
    version.spec = replace(spec, version=spec.version + 1)
    name.spec = replace(spec, name="other")
    return {
        "weights": weights,
        "overlap": changed(0.0),
        "front_end": front_end,
        "version": version,
        "name": name,
    }


@pytest.mark.parametrize(
    "change", ["weights", "overlap", "front_end", "version", "name", "output", "reading"]
)
def test_whatever_decides_the_result_is_in_the_key(
    tmp_path: Path,
    encoder: Yamnet,
    recording: Path,
    encoded: list[int],
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    folder = tmp_path / "store"
    Store(folder, encoder, "scores")[recording]
    if change == "reading":
        monkeypatch.setattr(store_module, "READING", store_module.READING + 1)
    other = variants(encoder).get(change, encoder)
    output = "embeddings" if change == "output" else "scores"
    found = Store(folder, other, output)[recording]
    assert torch.equal(found, expected(other, recording, output))
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
    tmp_path: Path, encoder: Yamnet, recording: Path, damage: object
) -> None:
    store = Store(tmp_path / "store", encoder, "scores")
    features = store[recording]
    (path,) = (tmp_path / "store").rglob("*.safetensors")
    damage(path)
    with pytest.warns(UserWarning, match=r"damaged .* computed again"):
        assert torch.equal(store[recording], features)
    assert torch.equal(store[recording], features)


def test_a_file_moved_to_another_key_is_not_believed(tmp_path: Path, encoder: Yamnet) -> None:
    store = Store(tmp_path / "store", encoder, "scores")
    first, second = (record(tmp_path / f"{seed}.wav", seed) for seed in (1, 2))
    store[first]
    (of_first,) = (tmp_path / "store").rglob("*.safetensors")
    features = store[second]
    (of_second,) = set((tmp_path / "store").rglob("*.safetensors")) - {of_first}
    shutil.copy(of_first, of_second)
    with pytest.warns(UserWarning, match="describes another recording"):
        assert torch.equal(store[second], features)


def test_a_failed_write_is_an_error_and_leaves_nothing(
    tmp_path: Path, encoder: Yamnet, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store", encoder, "scores")

    def full_disk(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(store_module, "save_file", full_disk)
    with pytest.raises(RunError, match=r"cannot be stored .* No space left on device\. Free space"):
        store[recording]
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]


def test_a_folder_that_is_a_file_is_an_error(tmp_path: Path, encoder: Yamnet, recording: Path) -> None:
    with pytest.raises(RunError, match="choose another folder"):
        Store(recording, encoder, "scores")[recording]


def test_a_recording_that_is_missing_or_broken_is_an_audio_error(tmp_path: Path, encoder: Yamnet) -> None:
    store = Store(tmp_path / "store", encoder, "scores")
    (tmp_path / "broken.wav").write_bytes(b"RIFF, but no more")
    for name in ("missing.wav", "broken.wav"):
        with pytest.raises(AudioError, match=name):
            store[tmp_path / name]
    assert not (tmp_path / "store").exists()


def test_an_unknown_output_is_refused_with_the_nearest(tmp_path: Path, encoder: Yamnet) -> None:
    with pytest.raises(UsageError, match="Did you mean 'scores'"):
        Store(tmp_path, encoder, "score")


def test_the_hash_of_weights_sees_names_shapes_and_values() -> None:
    first, second, third = (torch.nn.Linear(2, 3) for _ in range(3))
    second.load_state_dict(first.state_dict())
    third.load_state_dict(first.state_dict())
    third.weight.data[0, 0] += 1e-3
    assert weights_sha256(first) == weights_sha256(second) != weights_sha256(third)
    wide = torch.nn.Linear(3, 2, bias=False)
    tall = torch.nn.Linear(2, 3, bias=False)
    for layer in (wide, tall):
        torch.nn.init.ones_(layer.weight)
    assert weights_sha256(wide) != weights_sha256(tall)
