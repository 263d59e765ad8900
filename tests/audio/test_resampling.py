"""What resampling does to tones: it keeps those that the new rate can hold, and nothing else comes out.

The limits are those that soxr states for its quality HQ; its MQ and LQ miss both of them.
"""

import numpy as np
import pytest

from otoscribe.audio import reading

AMPLITUDE = 0.5
RATES = [(44100, 16000), (48000, 16000), (22050, 16000), (8000, 16000), (16000, 44100)]


def tone(hertz: float, rate: int) -> np.ndarray:
    return (AMPLITUDE * np.sin(2 * np.pi * hertz * np.arange(2 * rate) / rate)).astype(np.float32)


def resampled(hertz: float, original: int, rate: int) -> np.ndarray:
    """Return the middle second of two, away from where the tone begins and ends."""
    waveform = heard(tone(hertz, original), original, rate)
    return waveform[rate // 2 : rate // 2 + rate].astype(np.float64)


def heard(waveform: np.ndarray, original: int, rate: int) -> np.ndarray:
    return reading.from_array(waveform, original, rate).waveform


def decibels(waveform: np.ndarray) -> float:
    """Return the level relative to the tone."""
    return float(10 * np.log10(2 * np.mean(waveform**2) / AMPLITUDE**2 + 1e-30))


@pytest.mark.parametrize(("original", "rate"), RATES)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8, 0.91])
def test_a_tone_in_the_pass_band_keeps_its_level_and_comes_alone(
    original: int, rate: int, share: float
) -> None:
    hertz = share * min(original, rate) / 2
    waveform = resampled(hertz, original, rate)
    angle = 2 * np.pi * hertz * np.arange(rate) / rate
    waves = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    found = waves @ np.linalg.lstsq(waves, waveform, rcond=None)[0]
    assert abs(decibels(found)) < 0.01
    assert decibels(waveform - found) < -120  # 20 bits


@pytest.mark.parametrize(("original", "rate"), [pair for pair in RATES if pair[0] > pair[1]])
@pytest.mark.parametrize("share", [1.09, 1.2, 1.35])
def test_a_tone_above_what_the_new_rate_can_hold_vanishes(original: int, rate: int, share: float) -> None:
    assert decibels(resampled(share * rate / 2, original, rate)) < -120


@pytest.mark.parametrize(("original", "rate"), RATES)
def test_nothing_moves_in_time(original: int, rate: int) -> None:
    """A click in the middle stays in the middle: features know when a sound is heard."""
    click = np.zeros(2 * original + 1, dtype=np.float32)
    click[original] = AMPLITUDE
    assert abs(int(np.abs(heard(click, original, rate)).argmax()) - rate) <= 1
