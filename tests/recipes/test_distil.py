"""The compact encoder's distillation, on made-up sounds and a whole network of random weights."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from otoscribe.learn.encoders.compact_yamnet import CompactYamnet
from otoscribe.learn.encoders.yamnet import Yamnet
from recipes.bundled.distil import FRACTION, Sounds, clamped, distil, fit, fitted


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


def test_fitted_weights_give_nearer_outputs_than_the_nearest_weights(full: Yamnet, sounds: Sounds) -> None:
    others = sounds.draw(16, seed=1)
    targets = full.embed(others)["embeddings"]

    def error(compact: CompactYamnet) -> torch.Tensor:
        return (compact.embed(others)["embeddings"] - targets).square().mean() / targets.var()

    assert error(fitted(full, sounds.draw(32, seed=0))) < 0.5 * error(
        CompactYamnet.from_yamnet(full, FRACTION)
    )


def test_a_fit_finds_planted_weights_and_leaves_out_what_is_weakest() -> None:
    torch.manual_seed(1)
    planted = torch.nn.Sequential(torch.nn.Conv2d(12, 3, 1, bias=False), torch.nn.Conv2d(3, 10, 1))
    pair = torch.nn.Sequential(torch.nn.Conv2d(12, 3, 1, bias=False), torch.nn.Conv2d(3, 10, 1))
    inputs = torch.randn(40, 12, 4, 5) + 2.0
    with torch.no_grad():
        strong = planted(inputs)
        weak = 0.01 * torch.randn(10, 12)
        outputs = strong + torch.einsum("oc,bchw->bohw", weak, inputs)
        whole = (planted[1].weight.flatten(1) @ planted[0].weight.flatten(1))[..., None, None]
        fit(pair, whole, inputs, outputs)
        error = (pair(inputs) - outputs).square().mean() / outputs.var()
    assert 0 < error < 1e-2


def test_a_finished_encoder_is_not_made_again(tmp_path: Path) -> None:
    (tmp_path / "compact_yamnet.safetensors").touch()
    assert distil(tmp_path / "nowhere", tmp_path, print) == tmp_path / "compact_yamnet.safetensors"
