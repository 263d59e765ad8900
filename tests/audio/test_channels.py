"""Which channels are heard."""

import io
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otoscribe.audio import reading
from otoscribe.audio.notes import Notes
from otoscribe.errors import AudioError, UsageError
from support.encoded import encoded
from support.recordings import noise, write

RATE = 16000


def four(tmp_path: Path) -> tuple[Path, np.ndarray]:
    samples = noise(1, RATE, 4)
    return write(tmp_path / "four.wav", samples, RATE, subtype="FLOAT"), samples


def test_one_channel_or_each(tmp_path: Path) -> None:
    path, samples = four(tmp_path)
    each = reading.load_each(path, RATE)
    assert [audio.channel for audio in each] == [1, 2, 3, 4]
    for number, audio in enumerate(each, 1):
        one = reading.load(path, RATE, channel=number)
        np.testing.assert_array_equal(one.waveform, samples[:, number - 1])
        np.testing.assert_array_equal(one.waveform, audio.waveform)
        assert one.channel == number
    mean = reading.load(path, RATE)
    assert mean.channel is None
    np.testing.assert_allclose(mean.waveform, samples.mean(axis=1), atol=1e-6)


def test_resampling_each_is_resampling_one(tmp_path: Path) -> None:
    path, _ = four(tmp_path)
    for audio in reading.load_each(path, 44100):
        one = reading.load(path, 44100, channel=audio.channel)
        np.testing.assert_allclose(one.waveform, audio.waveform, atol=1e-6)


def test_a_channel_that_is_not_there(tmp_path: Path) -> None:
    path, _ = four(tmp_path)
    with pytest.raises(AudioError, match="has 4 channels; there is no channel 5"):
        reading.load(path, RATE, channel=5)
    with pytest.raises(AudioError, match="has 1 channel; there is no channel 2"):
        reading.from_array(np.zeros(9), RATE, RATE, channel=2)
    changing = encoded("flac", noise(1, RATE)) + encoded("flac", noise(1, RATE, 2))
    with pytest.raises(AudioError, match="first 1, then 2"):
        reading.load_each(changing, RATE)
    assert reading.load(changing, RATE, channel=1).seconds == 2


@pytest.mark.parametrize("channel", [0, -1, 1.5, True, "left", "1"])
def test_a_channel_that_cannot_be(channel: object) -> None:
    with pytest.raises(UsageError, match="There is no channel"):
        reading.from_array(np.zeros(9), RATE, RATE, channel=channel)


@settings(max_examples=25, deadline=None)
@given(
    channels=st.integers(3, 6),
    loudest=st.integers(0, 5),
    seconds=st.floats(0.05, 1.5),
    rate=st.sampled_from([8000, RATE, 44100]),
)
def test_channels_that_cancel(channels: int, loudest: int, seconds: float, rate: int) -> None:
    """Any weights that add up to nothing."""
    weights = np.ones(channels)
    weights[loudest % channels] -= channels
    samples = noise(2, RATE) / 10 * weights
    audio = reading.from_array(samples, RATE, rate)
    alone = reading.from_array(samples[:, loudest % channels], RATE, rate)
    np.testing.assert_array_equal(audio.waveform, alone.waveform)
    assert audio.notes == (
        f"its channels cancel each other, so that only channel {loudest % channels + 1} is heard",
    )
    content, notes = encoded("flac", np.hstack([samples[:, :1], -0.9 * samples[:, :1]])), Notes()
    whole = reading.load(content, rate)
    blocks = list(reading.stream(content, rate, seconds, notes=notes))
    np.testing.assert_array_equal(np.concatenate(blocks), whole.waveform)
    assert tuple(notes) == whole.notes
    assert "channel 1 is heard" in whole.notes[0]


def test_channels_that_do_not_cancel() -> None:
    loud = noise(1, RATE)
    for samples in (
        np.hstack([loud, np.zeros_like(loud)]),
        np.hstack([loud, noise(1, RATE, 7, seed=1)]),
        np.hstack([loud, np.roll(loud, 20)]),
        np.hstack([loud, -0.3 * loud]),
        np.hstack([loud] + [np.zeros_like(loud)] * 15),
        np.zeros((RATE, 2)),
    ):
        audio = reading.from_array(samples, RATE, RATE)
        assert not [note for note in audio.notes if "cancel" in note]
        np.testing.assert_allclose(audio.waveform, samples.mean(axis=1), atol=1e-6)


def test_more_channels_than_a_frame_has_places() -> None:
    """Opus decodes into planes, of which PyAV can only count eight."""
    out = io.BytesIO()
    with av.open(out, "w", format="ogg") as container:
        stream = container.add_stream(
            "libopus", rate=48000, layout="hexadecagonal", options={"mapping_family": "255"}
        )
        for index in range(50):
            samples = np.zeros((960, 16), np.float32)
            samples[:, 11] = 0.5 * np.sin(2 * np.pi * 500 * np.arange(960) / 48000)
            frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="hexadecagonal")
            frame.sample_rate, frame.pts = 48000, 960 * index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    powers = [audio.waveform.std() for audio in reading.load_each(out.getvalue(), 48000)]
    assert len(powers) == 16
    assert powers[11] == pytest.approx(0.35, abs=0.03)
    assert np.delete(powers, 11).max() < 0.01
