"""The compact encoder's distillation, on made-up sounds and a whole network of random weights."""

import copy
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from otoscribe.learn.encoders.compact_yamnet import CompactYamnet
from otoscribe.learn.encoders.yamnet import Yamnet
from recipes.bundled import distil as stage
from recipes.bundled.distil import LOWEST_LOGIT, Sounds, begin, clamped, difference, distil, learn


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Sounds:
    folder = tmp_path_factory.mktemp("sounds")
    time = np.arange(24000) / 16000
    waves = {
        "tone": 0.3 * np.sin(2 * np.pi * 440 * time),
        "sweep": 0.3 * np.sin(2 * np.pi * (200 + 900 * time) * time),
        "click": np.r_[0.9, np.zeros(300)],
    }
    for name, wave in waves.items():
        soundfile.write(folder / f"{name}.wav", wave, 16000)
    return Sounds(sorted(folder.glob("*.wav")))


@pytest.fixture(scope="module")
def full() -> Yamnet:
    torch.manual_seed(0)
    network = Yamnet()
    for parameter in network.parameters():
        if parameter.ndim > 1:
            # Wide enough that a signal comes out of the last of 27 layers.
            torch.nn.init.kaiming_normal_(parameter)
    return network


@pytest.fixture(scope="module")
def first(full: Yamnet, sounds: Sounds) -> CompactYamnet:
    return begin(full, sounds.draw(32, seed=0))


def test_a_seed_decides_the_patches_of_a_step(sounds: Sounds) -> None:
    patches = sounds.draw(6, seed=3)
    assert patches.shape == (6, 96, 64)
    assert patches.dtype == torch.float32
    assert patches.isfinite().all()
    torch.testing.assert_close(sounds.draw(6, seed=3), patches, rtol=0, atol=0)
    assert (sounds.draw(6, seed=4) - patches).abs().amax() > 1
    assert (patches[1:] - patches[:-1]).abs().amax(dim=(1, 2)).min() > 0


def test_every_recording_is_there_at_its_own_pitch_and_at_another(sounds: Sounds) -> None:
    click, _, _, _, tone, other = sounds.recordings
    assert len(click) >= 1
    assert tone.sum(axis=0).argmax() != other.sum(axis=0).argmax()
    assert abs(len(tone) / len(other) - 1) > 0.02


def test_clamped_activations_end_at_six(full: Yamnet, sounds: Sounds) -> None:
    network = Yamnet()
    network.load_state_dict(full.state_dict())
    network.trunk.pointwise[-1].bias.data += 100.0
    patches = sounds.draw(2, seed=0)
    assert network.embed(patches)["embeddings"].amax() > 50
    assert clamped(network).embed(patches)["embeddings"].amax() == 6


def test_the_first_weights_give_nearer_outputs_than_the_nearest_weights(
    full: Yamnet, first: CompactYamnet, sounds: Sounds
) -> None:
    others = sounds.draw(16, seed=1)
    targets = full.embed(others)["embeddings"]

    def error(compact: CompactYamnet) -> torch.Tensor:
        return (compact.embed(others)["embeddings"] - targets).square().mean() / targets.var()

    assert error(first) < 0.5 * error(CompactYamnet.from_yamnet(full))


def test_a_class_not_heard_need_not_be_unheard_as_much() -> None:
    def gradient(logit: float, target: float) -> float:
        logits = torch.full((1, 1), logit, requires_grad=True)
        embeddings = torch.ones(1, 1)
        targets = torch.full((1, 1), target)
        difference(
            {"logits": logits, "embeddings": embeddings},
            {"logits": targets, "scores": targets.sigmoid(), "embeddings": embeddings},
        ).backward()
        assert logits.grad is not None
        return logits.grad.item()

    assert gradient(LOWEST_LOGIT - 6, LOWEST_LOGIT - 2) == pytest.approx(0, abs=1e-2)
    assert gradient(LOWEST_LOGIT + 2, LOWEST_LOGIT - 2) == pytest.approx(4, rel=0.01)
    assert gradient(LOWEST_LOGIT - 2, LOWEST_LOGIT + 2) == pytest.approx(-8, rel=0.01)


def test_a_killed_run_goes_on_to_the_same_weights(
    full: Yamnet,
    first: CompactYamnet,
    sounds: Sounds,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stage, "BATCH", 4)
    monkeypatch.setattr(stage, "begin", lambda *_: copy.deepcopy(first))
    monkeypatch.setattr(stage, "STEPS_PER_CHECKPOINT", 2)
    lines: list[str] = []

    def killed_after_first(line: str) -> None:
        lines.append(line)
        raise KeyboardInterrupt

    whole = learn(full, sounds, 4, tmp_path / "whole.safetensors", lines.append)
    assert len(lines) == 2
    with pytest.raises(KeyboardInterrupt):
        learn(full, sounds, 4, tmp_path / "killed.safetensors", killed_after_first)
    resumed = learn(full, sounds, 4, tmp_path / "killed.safetensors", lines.append)
    assert "step 4 of 4" in lines[-1]
    assert len(lines) == 4
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)
    moved = [(tensor - whole.state_dict()[name]).abs().amax() for name, tensor in first.state_dict().items()]
    assert min(moved) > 1e-6
    assert not any(parameter.requires_grad for parameter in whole.parameters())


def test_a_finished_encoder_is_not_made_again(tmp_path: Path) -> None:
    (tmp_path / "compact_yamnet.safetensors").touch()
    assert distil(tmp_path / "nowhere", tmp_path, print) == tmp_path / "compact_yamnet.safetensors"
