import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from otoscribe.audio import reading, sndfile
from otoscribe.errors import AudioError, UsageError
from support.recordings import BROKEN, broken, noise, write

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
@given(channels=st.integers(1, 9), length=st.integers(1, 5000), seed=st.integers(0, 99))
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
    kept = reading.resample(tone, 44100, 16000).waveform[200:-200]
    np.testing.assert_allclose(kept, expected[200:-200], atol=1e-4)
    ultrasound = np.sin(2 * np.pi * 12000 * time).astype(np.float32) * 0.5
    assert np.abs(reading.resample(ultrasound, 44100, 16000).waveform[200:-200]).max() < 1e-4


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3", "aiff", "au", "w64", "caf", "rf64"])
def test_formats(tmp_path: Path, ending: str) -> None:
    tone = np.sin(np.arange(48000) / 20).astype(np.float32) * 0.5
    path = write(tmp_path / f"tone.{ending}", np.stack([tone, tone], axis=1), 48000)
    recording = reading.load(path, 16000)
    assert abs(recording.seconds - 1) < 0.08  # MP3 pads
    assert 0.3 < np.sqrt(np.mean(recording.waveform[2000:14000] ** 2)) < 0.4


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


def test_a_stream_says_what_is_wrong_where_it_lies(tmp_path: Path) -> None:
    samples = noise(3, 16000)
    samples[40000] = np.nan
    blocks = reading.stream(write(tmp_path / "nan.wav", samples, subtype="FLOAT"), 8000, 0.5)
    with pytest.raises(AudioError, match="not finite"):
        list(blocks)
    with pytest.raises(AudioError, match="holds no samples"):
        list(reading.stream(write(tmp_path / "empty.wav", np.zeros((0, 1))), 8000, 0.5))


def test_length_unknown_to_a_recorder_in_a_pipe_is_no_damage(tmp_path: Path) -> None:
    path = write(tmp_path / "pipe.wav", noise(1, 8000), 8000)
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert reading.load(path, 8000).seconds == 1


def test_mp3_without_stated_length_is_read_to_its_end(tmp_path: Path) -> None:
    samples = np.concatenate([np.zeros((80000, 1)), noise(5, 16000)])
    path = write(tmp_path / "vbr.mp3", samples, 16000, bitrate_mode="VARIABLE")
    content = path.read_bytes()
    second_frame = content.index(content[:2], 2)
    path.write_bytes(content[second_frame:])
    assert reading.load(path, 16000).seconds == pytest.approx(10, abs=0.3)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_cut_ogg_is_refused(tmp_path: Path, subtype: str) -> None:
    path = write(tmp_path / "a.ogg", noise(8, 16000), 16000, format="OGG", subtype=subtype)
    content = path.read_bytes()
    assert reading.load(path, 16000).seconds == pytest.approx(8, abs=0.1)
    path.write_bytes(content + b"notes" * 9)
    assert reading.load(path, 16000).seconds == pytest.approx(8, abs=0.1)
    for kept in (0.3, 0.6, 0.9, 0.999):
        path.write_bytes(content[: int(len(content) * kept)])
        with pytest.raises(AudioError, match="is cut short or damaged"):
            reading.load(path, 16000)


def test_ogg_cut_between_two_pages_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ogg", noise(8, 16000), 16000)
    content = path.read_bytes()
    path.write_bytes(content[: content.rfind(b"OggS")])
    with pytest.raises(AudioError, match="cut off before the end"):
        reading.load(path, 16000)


def test_wav_whose_header_was_never_finished_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(1, 8000), 8000)
    content = bytearray(path.read_bytes())
    content[40:44] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(AudioError, match="header announces 0 bytes of audio"):
        reading.load(path, 8000)


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


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("{folder}/missing.wav", "does not exist"),
        ("{folder}/whole.wav/below.wav", "does not exist"),
        ("{folder}", "is a folder; name the recordings in it"),
        ("", "empty file name"),
        ("{folder}/nul\0.wav", "cannot be opened"),
        ("{folder}/" + "x" * 5000, "cannot be opened"),
        pytest.param(
            "/dev/zero", "pipe or device", marks=pytest.mark.skipif(os.name == "nt", reason="POSIX")
        ),
    ],
)
def test_paths_that_are_no_recording(tmp_path: Path, path: str, said: str) -> None:
    write(tmp_path / "whole.wav", noise(0.1, 8000))
    with pytest.raises(AudioError, match=said):
        reading.load(path.format(folder=tmp_path), 16000)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_named_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AudioError, match="pipe or device"):
        reading.load(tmp_path / "pipe.wav", 16000)


def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")  # file modes do not stop root, who runs many a test

    path = write(tmp_path / "secret.wav", noise(0.1, 8000))
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(AudioError, match="may not be read: permission denied"):
        reading.load(path, 16000)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), ending=st.sampled_from(["wav", "flac", "ogg", "mp3", "aiff"]))
def test_damage_gives_a_waveform_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, ending: str
) -> None:
    path = write(tmp_path_factory.getbasetemp() / f"damage.{ending}", noise(0.5, 16000))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, min(len(content) - 1, 300)))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        waveform = reading.load(path, 8000).waveform
    except AudioError as error:
        assert str(error).endswith(".")  # noqa: PT017
    else:
        assert len(waveform)
        assert np.isfinite(waveform).all()
        assert np.abs(waveform).max() <= 1


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
        reading.resample(np.zeros(10, dtype=np.float32), rate, 16000)


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


def test_seeking_to_nowhere_stays(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    with sndfile._regular_file(tmp_path / "a") as raw:
        assert raw.seek(4) == 4
        assert [raw.seek(-5), raw.seek(-1, 7), raw.seek(2**70)] == [4, 4, 4]
        assert raw.read(2) == b"45"


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_block_lasts_some_time(tmp_path: Path, seconds: float) -> None:
    path = write(tmp_path / "a.wav", noise(1, 8000), 8000)
    with pytest.raises(UsageError, match="a number of seconds above 0"):
        next(reading.stream(path, 8000, seconds))
