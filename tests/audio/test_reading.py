import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from otoscribe.audio import reading
from otoscribe.errors import AudioError, UsageError
from support.encoded import FORMATS, encoded
from support.recordings import BROKEN, CUT, broken, noise, write

RATES = [1000, 8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000, 1000000]


@settings(max_examples=60, deadline=None)
@given(
    rate=st.sampled_from(RATES),
    target=st.sampled_from([8000, 16000, 44100]),
    channels=st.sampled_from([1, 2, 3, 6, 64]),
    length=st.integers(1, 20_000),
    subtype=st.sampled_from(["PCM_16", "PCM_24", "FLOAT", "DOUBLE", "PCM_U8"]),
)
def test_any_rate_channels_and_length_gives_the_right_number_of_samples(
    tmp_path_factory: pytest.TempPathFactory, rate: int, target: int, channels: int, length: int, subtype: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.wav"
    write(path, noise(1, length, channels), rate, subtype=subtype)
    recording = reading.load(path, target)
    assert recording.waveform.dtype == np.float32
    assert recording.waveform.ndim == 1
    assert abs(len(recording.waveform) - max(1, length * target / rate)) <= 1
    assert np.isfinite(recording.waveform).all()
    assert recording.sample_rate == target


@settings(max_examples=30, deadline=None)
@given(channels=st.integers(1, 9), length=st.integers(500, 5000), seed=st.integers(0, 99))
def test_channels_are_averaged(
    tmp_path_factory: pytest.TempPathFactory, channels: int, length: int, seed: int
) -> None:
    samples = noise(1, length, channels, seed)
    path = write(tmp_path_factory.getbasetemp() / "mean.wav", samples, 8000, subtype="FLOAT")
    recording = reading.load(path, 8000)
    np.testing.assert_allclose(recording.waveform, samples.mean(axis=1), atol=1e-6)
    assert recording.seconds == length / 8000


def test_integers_are_scaled_to_one(tmp_path: Path) -> None:
    samples = np.array([-32768, -16384, 0, 16384, 32767], dtype=np.int16)
    waveform = reading.load(write(tmp_path / "int.wav", samples), 16000).waveform
    np.testing.assert_array_equal(waveform, samples / np.float32(32768))


def test_blocks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "long.wav", noise(3, 44100, 2), 44100, subtype="FLOAT")
    whole = reading.load(path, 16000).waveform
    monkeypatch.setattr(reading, "_BLOCK", 1001)
    np.testing.assert_allclose(reading.load(path, 16000).waveform, whole, atol=1e-6)


def test_resampling_keeps_a_tone_and_removes_what_the_new_rate_cannot_hold() -> None:
    time = np.arange(44100) / 44100
    tone = np.sin(2 * np.pi * 1000 * time).astype(np.float32) * 0.5
    expected = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000) * 0.5
    kept = reading.from_array(tone, 44100, 16000).waveform[200:-200]
    np.testing.assert_allclose(kept, expected[200:-200], atol=1e-4)
    ultrasound = np.sin(2 * np.pi * 12000 * time).astype(np.float32) * 0.5
    assert np.abs(reading.from_array(ultrasound, 44100, 16000).waveform[200:-200]).max() < 1e-4


@pytest.mark.parametrize("name", FORMATS)
def test_formats(name: str) -> None:
    rate = FORMATS[name].rate
    tone = 0.5 * np.sin(np.arange(2 * rate) * 2 * np.pi * 500 / rate)
    samples = np.stack([tone] * (1 if name == "amr" else 2), axis=1)
    audio = reading.load(encoded(name, samples), rate)
    assert not audio.notes  # of an intact recording
    assert audio.seconds == pytest.approx(2, abs=0.12)  # AAC pads
    middle = audio.waveform[rate // 2 : -rate // 2]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert spectrum.argmax() * rate / len(middle) == pytest.approx(500, abs=2)
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.35, abs=0.05)
    if FORMATS[name].exact:
        np.testing.assert_allclose(audio.waveform, tone, atol=2**-15)


@pytest.mark.parametrize("ending", ["wav", "flac", "aiff", "caf", "w64", "rf64", "au"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "DOUBLE"])
def test_formats_without_loss_are_exact_to_the_sample(tmp_path: Path, ending: str, subtype: str) -> None:
    if subtype not in soundfile.available_subtypes(ending.upper()):
        return
    path = write(tmp_path / f"a.{ending}", noise(1, 8000), 8000, subtype=subtype)
    expected = soundfile.read(path, dtype="float32")[0]
    np.testing.assert_array_equal(reading.load(path, 8000).waveform, expected)


@pytest.mark.parametrize(
    ("form", "subtype", "endian"),
    [
        ("MAT4", "FLOAT", "FILE"),
        ("MAT5", "PCM_16", "FILE"),
        ("HTK", "PCM_16", "FILE"),
        ("AU", "PCM_16", "LITTLE"),
        ("AIFF", "PCM_24", "LITTLE"),
        ("WAV", "ULAW", "BIG"),
        ("WAV", "NMS_ADPCM_16", "FILE"),
        ("XI", "DPCM_16", "FILE"),
    ],
)
def test_what_only_libsndfile_knows(tmp_path: Path, form: str, subtype: str, endian: str) -> None:
    path = write(tmp_path / "a", noise(1, 8000), 8000, format=form, subtype=subtype, endian=endian)
    expected, rate = soundfile.read(path, dtype="float32")
    audio = reading.load(path, rate)
    np.testing.assert_array_equal(audio.waveform, expected)
    assert not audio.notes


@pytest.mark.parametrize(
    "name", ["speech.raw", "speech", "speech.txt", "speech.mp3", "spéech \n .wav", "-x.wav"]
)
def test_content_decides_not_the_name(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "speech.wav", noise(0.1, 8000), 8000).rename(tmp_path / name)
    assert reading.load(path, 8000).seconds == pytest.approx(0.1)


@pytest.mark.skipif(os.name == "nt", reason="Windows file names are text")
def test_name_that_is_no_text(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.wav")
    Path(path).write_bytes(write(tmp_path / "a.wav", noise(0.1, 8000), 8000).read_bytes())
    assert reading.load(path, 8000).seconds == pytest.approx(0.1)


def test_beyond_one_is_clipped(tmp_path: Path) -> None:
    samples = np.array([0.0, 0.5, -32768.0, 1.5, -0.25], dtype=np.float32)
    waveform = reading.load(write(tmp_path / "loud.wav", samples, subtype="FLOAT"), 16000).waveform
    np.testing.assert_allclose(waveform, np.clip(samples, -1, 1))


def test_a_wild_sample_is_clipped_before_it_spreads(tmp_path: Path) -> None:
    wild, clipped = noise(1, 44100), noise(1, 44100)
    wild[20000], clipped[20000] = 1e6, 1.0
    found, expected = (
        reading.load(write(tmp_path / "a.wav", samples, 44100, subtype="FLOAT"), 16000).waveform
        for samples in (wild, clipped)
    )
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=40, deadline=None)
@given(
    seconds=st.floats(1e-6, 3), length=st.integers(1, 30_000), rate=st.sampled_from([8000, 16000, 44100, 999])
)
def test_a_stream_holds_the_samples_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, seconds: float, length: int, rate: int
) -> None:
    seconds = max(seconds, length / 16000 / 100)  # at most about a hundred blocks
    path = write(tmp_path_factory.getbasetemp() / "s.wav", 20 * noise(1, length, 2), 8000, subtype="FLOAT")
    if rate == 999:
        with pytest.raises(UsageError):
            next(reading.stream(path, rate, seconds))
        return
    blocks = list(reading.stream(path, rate, seconds))
    whole = reading.load(path, rate).waveform
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    size = max(1, round(seconds * rate))
    assert all(len(block) == size for block in blocks[:-1])
    assert 0 < len(blocks[-1]) <= size
    assert np.abs(whole).max() <= 1


def test_mp3_without_stated_length_is_read_to_its_end(tmp_path: Path) -> None:
    samples = np.concatenate([np.zeros((80000, 1)), noise(5, 16000)])
    path = write(tmp_path / "vbr.mp3", samples, 16000, bitrate_mode="VARIABLE")
    content = path.read_bytes()
    second_frame = content.index(content[:2], 2)
    path.write_bytes(content[second_frame:])
    assert reading.load(path, 16000).seconds == pytest.approx(10, abs=0.3)


@pytest.mark.parametrize(("kind", "said"), BROKEN.items())
def test_broken_files_are_refused_in_a_sentence(tmp_path: Path, kind: str, said: str) -> None:
    path = broken(tmp_path, kind)
    for attempt in (lambda: reading.load(path, 16000), lambda: list(reading.stream(path, 16000, 1))):
        with pytest.raises(AudioError) as error:
            attempt()
        message = str(error.value)
        assert message.startswith(str(path))
        assert message.endswith(".")
        assert said in message
        assert "\n" not in message


@pytest.mark.parametrize(("kind", "said"), CUT.items())
def test_cut_files_are_heard_as_far_as_they_go(tmp_path: Path, kind: str, said: str) -> None:
    audio = reading.load(broken(tmp_path, kind), 16000)
    assert any(f"it holds {said} that its header announces" in note for note in audio.notes)
    assert f"{audio.seconds:.3g} s" == said[: said.index(" of")]


def test_too_long_is_noticed_while_decoding(tmp_path: Path) -> None:
    path = write(tmp_path / "long.wav", noise(3, 8000), 8000)
    assert reading.load(path, 16000, longest_seconds=3).seconds == 3
    with pytest.raises(AudioError, match="too long"):
        reading.load(path, 16000, longest_seconds=2.9)


@pytest.mark.parametrize("rate", [0, -1, 999, 1_000_001, 16000.5])
def test_impossible_rates_are_misuse(tmp_path: Path, rate: int) -> None:
    path = write(tmp_path / "a.wav", noise(0.1, 8000))
    with pytest.raises(UsageError, match="sample rate"):
        reading.load(path, rate)
    with pytest.raises(UsageError, match="sample rate"):
        reading.from_array(np.zeros(10, dtype=np.float32), rate, 16000)


def test_real_recordings(shared_data: Path) -> None:
    for path in sorted((shared_data / "pairs").rglob("*.flac"))[:12]:
        info = soundfile.info(path)
        recording = reading.load(path, 16000)
        assert recording.seconds == pytest.approx(info.duration, abs=1e-4)
        assert recording.waveform.std() > 0


def test_example_recordings() -> None:
    paths = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.flac"))
    assert len(paths) >= 6
    assert sum(path.stat().st_size for path in paths) < 1_500_000
    for path in paths:
        recording = reading.load(path, 16000)
        assert recording.sample_rate == 16000
        assert 5 <= recording.seconds <= 10
        assert 0.6 < np.abs(recording.waveform).max() <= 0.71


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_block_lasts_some_time(tmp_path: Path, seconds: float) -> None:
    path = write(tmp_path / "a.wav", noise(1, 8000), 8000)
    with pytest.raises(UsageError, match="a number of seconds above 0"):
        next(reading.stream(path, 8000, seconds))
