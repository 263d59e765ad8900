"""Feature extractors in PyTorch give what transformers' own give, with their default settings and others.

Of silence and noise their logarithms are equal. Beside a loud tone float32 rounds off what lies a hundred
decibels below it, as in `torch.stft`: there, amplitudes are equal as parts of the loudest.
"""

from typing import Any

import numpy as np
import pytest
import torch

from otoscribe.model.feature_extractors import AstMel, ClapMel, WhisperMel, in_torch

transformers = pytest.importorskip("transformers", reason="Feature extractors need transformers.")

# Of AST's 128 bands the lowest hold no frequency of its Fourier transform, of which its extractor warns.
pytestmark = pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values")

NEPERS, DECIBELS, OF_THE_LOUDEST = 1e-4, 5e-3, 2e-6
"""Largest difference of natural logarithms, of decibels, and of amplitudes."""


def noises(samples: int) -> np.ndarray:
    """Return silence, faint noise and noise, [3, samples]."""
    noise = np.random.default_rng(samples).standard_normal((3, samples))
    return (np.array([[0.0], [1e-4], [0.1]]) * noise).astype(np.float32)


def loud(samples: int, rate: int) -> np.ndarray:
    """Return a tone, and noise beside a constant, [2, samples]."""
    tone = 0.9 * np.sin(2.0 * np.pi * 1000.0 * np.arange(samples) / rate)
    return np.array([tone, 0.3 + noises(samples)[2]], dtype=np.float32)


def both(extractor: Any, waveforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what is computed here, and by the extractor."""
    rate = extractor.sampling_rate
    ours = in_torch(extractor, "a model", waveforms.shape[1] / rate)
    assert isinstance(ours, AstMel | ClapMel | WhisperMel)
    expected = extractor(list(waveforms), sampling_rate=rate, return_tensors="np")
    return ours(torch.from_numpy(waveforms)).numpy(), expected[extractor.model_input_names[0]]


@pytest.mark.parametrize(
    ("chosen", "samples"),
    [
        ({}, 400),
        ({}, 16000),
        ({"max_length": 64}, 10240),
        ({"num_mel_bins": 16, "max_length": 208, "mean": 0.5, "std": 2.0}, 7999),
        ({"max_length": 100, "do_normalize": False, "sampling_rate": 22050}, 5000),
    ],
)
def test_ast(chosen: dict[str, Any], samples: int) -> None:
    extractor = transformers.ASTFeatureExtractor(**chosen)
    mean, spread = (extractor.mean, 2 * extractor.std) if extractor.do_normalize else (0.0, 1.0)
    found, expected = both(extractor, noises(samples))
    np.testing.assert_allclose(found, expected, rtol=0, atol=NEPERS / spread)
    found, expected = (np.exp((mel * spread + mean) / 2) for mel in both(extractor, loud(samples, 16000)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=OF_THE_LOUDEST * expected.max())


@pytest.mark.parametrize("truncation", ["rand_trunc", "fusion"])
@pytest.mark.parametrize(
    ("chosen", "samples"),
    [
        ({}, 48000),
        ({"max_length_s": 2}, 96000),
        ({"max_length_s": 2}, 70000),
        ({"max_length_s": 2, "padding": "repeat"}, 70000),
        ({"max_length_s": 2, "padding": "repeat"}, 96000),
        ({"max_length_s": 2, "padding": "pad"}, 30000),
        ({"max_length_s": 1, "feature_size": 16, "frequency_min": 50}, 20001),
        ({"max_length_s": 1, "sampling_rate": 32000, "fft_window_size": 512, "hop_length": 320}, 20001),
    ],
)
def test_clap(truncation: str, chosen: dict[str, Any], samples: int) -> None:
    extractor = transformers.ClapFeatureExtractor(truncation=truncation, **chosen)
    found, expected = both(extractor, noises(samples))
    assert found.shape == (3, 1, *expected.shape[2:])
    for read in range(expected.shape[1]):  # for fusion it is four times the same
        np.testing.assert_allclose(found[:, 0], expected[:, read], rtol=0, atol=DECIBELS)
    found, expected = (10.0 ** (mel[:, 0] / 20) for mel in both(extractor, loud(samples, 48000)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=OF_THE_LOUDEST * expected.max())


@pytest.mark.parametrize("samples", [1, 16000, 480000])
def test_whisper(samples: int) -> None:
    found, expected = both(transformers.WhisperFeatureExtractor(), noises(samples))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
