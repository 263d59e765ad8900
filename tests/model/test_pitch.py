from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from otoscribe.model.encoders.yamnet import FRONT_END
from otoscribe.model.pitch import VoicePitch
from otoscribe.model.spectrogram import LogMelPatches

RATE = 16000


def count(samples: int, overlap: float = 0.5) -> int:
    return FRONT_END.windows(overlap).count(samples)


@cache
def pitch(overlap: float = 0.5) -> VoicePitch:
    patches = LogMelPatches(FRONT_END, overlap)
    return VoicePitch(patches.windows.hop, patches.steps_per_patch)


def shares(waveform: Tensor, overlap: float = 0.5) -> Tensor:
    return pitch(overlap)(waveform[None], count(len(waveform), overlap))[0]


def noise(samples: int, seed: int = 0) -> Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def voice(hertz: float, samples: int = 2 * RATE, amplitudes: tuple[float, ...] | None = None) -> Tensor:
    """Harmonics up to 4 kHz that fall by 6 dB an octave, or those given, and a little breath."""
    time = torch.arange(samples, dtype=torch.float64) / RATE
    amplitudes = amplitudes or tuple(1 / k for k in range(1, int(4000 / hertz) + 1))
    harmonics = (a * torch.sin(2 * torch.pi * k * hertz * time + k) for k, a in enumerate(amplitudes, 1))
    return 0.1 * sum(harmonics, torch.zeros(samples)).float() + 0.005 * noise(samples)


def assert_all(found: Tensor, expected: tuple[float, float, float], patches: slice = slice(0, 3)) -> None:
    """Compare the patches that hold no padding."""
    torch.testing.assert_close(found[patches], torch.tensor(expected).expand(3, 3), rtol=0.0, atol=0.02)


@pytest.mark.parametrize("hertz", [75.0, 90.0, 110.0, 133.3, 155.0])
def test_a_low_voice_is_low(hertz: float) -> None:
    assert_all(shares(voice(hertz)), (1.0, 0.0, 1.0))


@pytest.mark.parametrize("hertz", [185.0, 220.0, 261.6, 310.0, 390.0])
def test_a_high_voice_is_high(hertz: float) -> None:
    assert_all(shares(voice(hertz)), (0.0, 1.0, 1.0))


def test_a_voice_between_is_voiced_and_neither() -> None:
    assert_all(shares(voice(170.0)), (0.0, 0.0, 1.0))


@pytest.mark.parametrize("amplitudes", [(0.3, 1.0, 0.3), (0.0, 1.0, 1.0), (0.2, 0.2, 0.2, 0.2, 1.0, 0.3)])
def test_a_loud_or_missing_harmonic_makes_no_octave_error(amplitudes: tuple[float, ...]) -> None:
    assert_all(shares(voice(110.0, amplitudes=amplitudes)), (1.0, 0.0, 1.0))
    assert_all(shares(voice(220.0, amplitudes=amplitudes)), (0.0, 1.0, 1.0))


@pytest.mark.parametrize("hertz", [75.0, 110.0])
def test_a_hummed_low_voice_is_low(hertz: float) -> None:
    assert_all(shares(voice(hertz, amplitudes=(1.0,))), (1.0, 0.0, 1.0))


def test_breath_costs_a_low_voice_no_more_than_a_high_one() -> None:
    low, high = (shares(voice(hertz) + 0.17 * noise(2 * RATE))[:3, 2].mean() for hertz in (85.0, 240.0))
    assert 0.6 < high < 0.9
    assert low > high - 0.05


def test_noise_is_unvoiced() -> None:
    assert shares(0.1 * noise(10 * RATE)).max() < 0.03


@pytest.mark.parametrize("hertz", [40.0, 50.0, 60.0, 420.0, 500.0, 777.0, 1000.0, 1150.0, 3000.0])
def test_a_tone_that_no_voice_has_is_unvoiced(hertz: float) -> None:
    time = torch.arange(2 * RATE) / RATE
    tone = 0.1 * torch.sin(2 * torch.pi * hertz * time)
    assert shares(tone + 0.001 * noise(2 * RATE)).max() < 0.02


def test_silence_is_unvoiced() -> None:
    assert torch.equal(shares(torch.zeros(40000)), torch.zeros(count(40000), 3))
    assert torch.equal(shares(torch.full((40000,), 0.5))[1:3], torch.zeros(2, 3))


def test_a_voice_in_the_noise_is_found_where_it_is() -> None:
    waveform = 0.003 * noise(6 * RATE)
    waveform[2 * RATE : 4 * RATE] += voice(120.0)
    low = shares(waveform)[:, 0]
    patches = torch.arange(len(low)) * 0.48
    inside, outside = (patches > 2.0) & (patches + 0.975 < 4.0), (patches + 0.975 < 2.0) | (patches > 4.0)
    assert low[inside].min() > 0.98
    assert low[outside].max() < 0.03


def test_a_voice_far_below_the_rest_of_the_clip_is_left_out() -> None:
    loud, faint = voice(120.0), 0.03 * voice(220.0, 3 * RATE)
    found = shares(torch.cat([loud, faint]))
    assert_all(found, (1.0, 0.0, 1.0))
    assert found[5:8].max() == 0.0
    assert_all(shares(torch.cat([loud, 10 * faint])), (0.0, 1.0, 1.0), slice(5, 8))


@pytest.mark.parametrize("gain", [1e-3, 1e-2, 7.0])
def test_gain_changes_nothing(gain: float) -> None:
    waveform = torch.cat([voice(140.0), voice(230.0), 0.05 * noise(RATE)])
    torch.testing.assert_close(shares(gain * waveform), shares(waveform), rtol=0.0, atol=1e-3)


def test_a_batch_gives_what_each_clip_alone_gives() -> None:
    clips = torch.stack([voice(110.0), 0.1 * noise(2 * RATE), voice(240.0)])
    together = pitch()(clips, count(2 * RATE))
    for clip, found in zip(clips, together, strict=True):
        torch.testing.assert_close(found, shares(clip), rtol=0.0, atol=1e-5)


LONG = voice(110.0, 60000)


@pytest.mark.parametrize("overlap", [0.0, 0.5])
@given(samples=st.integers(1, len(LONG)))
def test_any_length_gives_shares_of_every_patch(overlap: float, samples: int) -> None:
    found = shares(LONG[:samples], overlap)
    assert found.shape == (count(samples, overlap), 3)
    assert ((found >= 0) & (found <= 1)).all()
    assert (found[:, 0] + found[:, 1] <= found[:, 2] + 1e-6).all()


def test_overlapping_patches_hold_every_plain_one() -> None:
    # It fades by 60 dB, past where a frame is too faint to count.
    fade = torch.logspace(0, -3, 5 * RATE)
    waveform = fade * torch.cat([voice(110.0, RATE), 0.05 * noise(RATE), voice(240.0, 3 * RATE)])
    few, many = shares(waveform, 0.0), shares(waveform, 0.5)
    torch.testing.assert_close(many[::2][:4], few[:4], rtol=0.0, atol=1e-5)


def test_a_step_that_cuts_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="no multiple of 320"):
        VoicePitch(7700, 2)


class _Pitch(torch.nn.Module):
    def __init__(self, overlap: float) -> None:
        super().__init__()
        self.windows = FRONT_END.windows(overlap)
        self.pitch = pitch(overlap)

    def forward(self, waveforms: Tensor) -> Tensor:
        found: Tensor = self.pitch(waveforms, self.windows.count(waveforms.shape[-1]))
        return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_it_exports_for_any_length(tmp_path: Path, overlap: float) -> None:
    module = _Pitch(overlap).eval()
    torch.onnx.export(
        module,
        (torch.zeros(1, 40000),),
        tmp_path / "pitch.onnx",
        dynamic_shapes={"waveforms": {1: torch.export.Dim("samples", min=1, max=2**31)}},
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(tmp_path / "pitch.onnx", providers=["CPUExecutionProvider"])
    for samples in (1, 240, 15600, 15601, 22960, 53211, 160000):
        half = samples // 2
        waveform = torch.cat([voice(120.0, samples - half), voice(210.0, half)])
        waveform = (waveform + 0.08 * noise(samples, seed=1))[None]
        (found,) = session.run(None, {"waveforms": waveform.numpy()})
        expected = module(waveform).numpy()
        assert samples < RATE or expected.max() > 0.1
        np.testing.assert_allclose(found, expected, atol=1e-4)
