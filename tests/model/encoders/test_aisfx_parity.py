"""aiSFX with its real weights against its authors' own code on real recordings, at every depth."""

from pathlib import Path

import numpy as np
import pytest
import torch

from otoscribe.model.encoders.aisfx import BEFORE, FRONT_END, LARGEST, Aisfx
from otoscribe.model.spectrogram import LogMel
from support.encoders import encoder_of

HOPS = {100: 0.0, 50: 0.5}


@pytest.fixture(scope="module")
def golden(shared_data: Path) -> dict[str, np.ndarray]:
    with np.load(shared_data / "golden" / "encoders" / "aisfx_real.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def names(golden: dict[str, np.ndarray]) -> list[str]:
    found = [key.removeprefix("wave_") for key in golden if key.startswith("wave_")]
    assert len(found) == 3
    return found


@pytest.fixture(scope="module", params=HOPS)
def hop(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def encoder(shared_data: Path, hop: int) -> Aisfx:
    file = shared_data / "weights" / "aisfx_checkpoint.pth"
    encoder = encoder_of(file, "aisfx", HOPS[hop])
    assert isinstance(encoder, Aisfx)
    return encoder


def waveform(golden: dict[str, np.ndarray], name: str) -> torch.Tensor:
    return torch.from_numpy(golden[f"wave_{name}"].astype(np.float32) / 32768)[None]


def test_spectrogram(golden: dict[str, np.ndarray], names: list[str]) -> None:
    log_mel = LogMel(FRONT_END)
    for name in names:
        expected = torch.from_numpy(golden[f"spec_{name}"])
        samples = golden[f"wave_{name}"].size
        after = (len(expected) + 1) * 1024 - BEFORE - samples
        found = log_mel(torch.nn.functional.pad(waveform(golden, name), (BEFORE, after)))[0]
        found = (found - np.log(1e-4)) / np.log(10.0)
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-4)


def test_embeddings_from_stored_spectrograms(
    golden: dict[str, np.ndarray], names: list[str], encoder: Aisfx, hop: int
) -> None:
    for name in names:
        spectrogram = torch.from_numpy(golden[f"spec_{name}"]) / LARGEST
        patches = spectrogram.unfold(0, 100, hop).transpose(1, 2)  # [patches, 100, 96]
        embeddings = encoder.embed(patches)
        expected = torch.from_numpy(golden[f"emb_{name}_hop{hop}"])
        torch.testing.assert_close(embeddings, expected, rtol=0, atol=1e-5 * float(expected.max()))
        logits = torch.from_numpy(golden[f"soundly_{name}_hop{hop}"])
        scale = float(logits.abs().max())
        torch.testing.assert_close(encoder.classifier(embeddings), logits, rtol=0, atol=1e-5 * scale)


def test_outputs_from_waveforms(
    golden: dict[str, np.ndarray], names: list[str], encoder: Aisfx, hop: int
) -> None:
    for name in names:
        found = encoder(waveform(golden, name))
        for output, key in (("embeddings", "emb"), ("logits", "soundly")):
            expected = torch.from_numpy(golden[f"{key}_{name}_hop{hop}"])
            scale = float(expected.abs().max())
            torch.testing.assert_close(found[output][0], expected, rtol=0, atol=1e-4 * scale)
