import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from otoscribe.model.encoders.yamnet import FRONT_END
from otoscribe.model.spectrogram import LogMel, LogMelPatches, mel_matrix


def reference_log_mel(waveform: np.ndarray) -> np.ndarray:
    """Frame by frame with numpy's FFT in float64."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = [waveform[start : start + 400] * window for start in range(0, len(waveform) - 399, 160)]
    return np.log(np.abs(np.fft.rfft(frames, 512)) @ mel_matrix(FRONT_END) + 0.001)


def test_log_mel_equals_an_fft() -> None:
    waveform = np.random.default_rng(0).standard_normal(4000) * 0.1
    log_mel = LogMel(FRONT_END)(torch.from_numpy(waveform).float()[None])[0].numpy()
    np.testing.assert_allclose(log_mel, reference_log_mel(waveform), atol=1e-4)


def test_a_tone_is_loudest_in_its_band() -> None:
    tone = torch.sin(2 * torch.pi * 1000.0 * torch.arange(16000) / 16000)
    centre = mel_matrix(FRONT_END)[round(1000 / 16000 * 512)].argmax()
    assert (LogMel(FRONT_END)(tone[None])[0].argmax(dim=1) == centre).all()


def test_silence_is_the_logarithm_of_the_offset() -> None:
    assert torch.allclose(LogMel(FRONT_END)(torch.zeros(1, 800)), torch.tensor(0.001).log())


@pytest.mark.parametrize("overlap", [0.0, 0.5])
@given(samples=st.integers(1, 60000))
def test_every_sample_is_heard_and_no_patch_is_only_padding(overlap: float, samples: int) -> None:
    patches = LogMelPatches(FRONT_END, overlap)
    count = patches.windows.count(samples)
    step = 7680 if overlap else 15360
    heard = 15600 + (count - 1) * step
    assert heard >= samples
    assert count == 1 or heard - step < samples


@pytest.mark.parametrize("overlap", [0.0, 0.5])
@pytest.mark.parametrize("samples", [1, 399, 15600, 15601, 30960, 30961, 50000])
def test_patches_are_slices_of_the_padded_waveform(overlap: float, samples: int) -> None:
    waveform = np.random.default_rng(samples).standard_normal(samples) * 0.1
    patches = LogMelPatches(FRONT_END, overlap)
    found = patches(torch.from_numpy(waveform).float()[None])[0]
    assert len(found) == patches.windows.count(samples)
    step = 7680 if overlap else 15360
    padded = np.concatenate([waveform, np.zeros(20000)])
    for i, patch in enumerate(found):
        expected = reference_log_mel(padded[i * step : i * step + 15600])
        np.testing.assert_allclose(patch.numpy(), expected, atol=1e-4)


def test_a_front_end_that_cannot_be_is_refused() -> None:
    numbers = {field: getattr(FRONT_END, field) for field in FRONT_END.__dataclass_fields__}
    with pytest.raises(ValueError, match="longer"):
        type(FRONT_END)(**(numbers | {"window_length": 513}))
    odd = type(FRONT_END)(**(numbers | {"patch_frames": 95}))
    assert odd.windows(0.0).hop == 95 * 160
    with pytest.raises(ValueError, match="of 95 frames cannot overlap"):
        odd.windows(0.5)
