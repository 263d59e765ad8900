"""Recordings that are odd: what can be decoded is heard, and what is odd is said."""

import io
import struct
from collections.abc import Callable
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from otoscribe.audio import reading
from otoscribe.audio.waveform import Audio
from otoscribe.errors import AudioError
from support.encoded import FORMATS, encoded
from support.recordings import noise, write

CASES = Path(__file__).parent / "cases"


def load(recording: object, rate: int = 16000) -> Audio:
    return reading.load(recording, rate)


def said(recording: object) -> str:
    return "; ".join(load(recording).notes)


@pytest.mark.parametrize(
    ("name", "seconds", "note"),
    [
        ("F01_piped.flac", 1.0, ""),
        ("F02_vbr_no_xing.mp3", 5.4, ""),
        ("F03_no_eos.ogg", 2.016, "the end of its stream is not marked, so its end may be missing"),
        ("F03_no_eos.opus", 2.0135, "the end of its stream is not marked, so its end may be missing"),
        ("F04_zeros_first.mp3", 2.16, ""),
        ("F05_twice.mp3", 4.254, "it holds 4.25 s, more than the 2.16 s that its header announces"),
        ("F05_chained.ogg", 4.0, "several recordings are joined in it"),
        ("F06_size_plus_36.wav", 1.0, ""),
        ("F07_mp3_in.wav", 2.16, ""),
        ("F08_inverted.flac", 2.0, "its channels cancel each other, so that only channel 1 is heard"),
        ("F11_flac_in.ogg", 1.0, ""),
        ("F12_rf64_unfinished.wav", 1.0, "its header was never finished, so its end may be missing"),
        ("F13_gapless_1.mp3", 0.0389, ""),
        ("F18_id3_before_riff.wav", 1.0, ""),
        ("F19_dts_in.wav", 0.256, ""),
    ],
)
def test_cases(name: str, seconds: float, note: str) -> None:
    audio = load(CASES / name)
    assert audio.seconds == pytest.approx(seconds, abs=2e-3)
    assert "; ".join(audio.notes) == note
    assert audio.waveform.std() > 0.004


def tone(seconds: float, rate: int, channels: int) -> np.ndarray:
    wave = 0.3 * np.sin(2 * np.pi * 500 * np.arange(seconds * rate) / rate)
    return np.stack([wave] * channels, axis=1) + noise(seconds, rate, channels) / 100


def sample(name: str, seconds: float = 2, channels: int = 1, rate: int = 16000) -> bytes:
    return encoded(name, tone(seconds, rate, channels), rate)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "wav",
            "wav, float",
            "w64",
            "rf64",
            "flac",
            "mp3",
            "m4a",
            "mp4",
            "mov",
            "aac",
            "webm",
            "mkv",
            "wma",
        ),
        *("aiff", "caf", "opus", "au", "wavpack"),
    ],
)
def test_joined_files_are_heard_to_the_end(name: str) -> None:
    once, twice = load(sample(name)), load(2 * sample(name))
    # Encoders' delays are cut off where a recording begins, and the header of an AU is taken for sound.
    assert twice.seconds == pytest.approx(2 * once.seconds, abs=0.15)
    assert not once.notes
    if name != "aac":  # frames and nothing else, so that nothing tells two files from one
        assert any("joined" in note or "more than" in note for note in twice.notes)


@pytest.mark.parametrize("name", ["flac", "opus", "aac", "mp3"])
@pytest.mark.parametrize(("rate", "channels"), [(16000, 2), (48000, 1), (8000, 2)])
def test_rates_and_channels_are_followed_where_they_change(name: str, rate: int, channels: int) -> None:
    joined = sample(name) + sample(name, channels=channels, rate=rate)
    audio = load(joined)
    assert audio.seconds == pytest.approx(4, abs=0.3)
    halves = np.array_split(audio.waveform, 2)
    assert halves[1].std() == pytest.approx(halves[0].std(), rel=0.1)
    blocks = list(reading.stream(joined, 16000, 0.3))
    np.testing.assert_array_equal(np.concatenate(blocks), audio.waveform)


def patched(content: bytes, place: int, value: bytes) -> bytes:
    return content[:place] + value + content[place + len(value) :]


def plain() -> bytes:
    """A WAV of two seconds whose header has 44 bytes."""
    samples = (noise(2, 8000)[:, 0] * 32767).astype("<i2").tobytes()
    header = struct.pack(
        "<4sI4s4sIHHIIHH", b"RIFF", 36 + 32000, b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16
    )
    return header + struct.pack("<4sI", b"data", 32000) + samples


@pytest.mark.parametrize(
    ("change", "seconds", "note"),
    [
        (lambda wav: wav, 2, ""),
        (lambda wav: patched(wav, 40, struct.pack("<I", 32000 + 44)), 2, ""),
        (lambda wav: patched(wav, 40, struct.pack("<I", 32000 - 44)), 2, ""),
        (lambda wav: wav + b"LIST" + struct.pack("<I", 100) + bytes(100), 2, ""),
        (lambda wav: b"ID3\x04\0\0\0\0\x02\x00" + bytes(256) + wav, 2, ""),
        (lambda wav: patched(wav, 4, b"\xff" * 4), 2, ""),
        (lambda wav: patched(wav, 40, b"\xff" * 4), 2, "never finished"),
        (lambda wav: patched(patched(wav, 4, bytes(4)), 40, bytes(4)), 2, "never finished"),
        (lambda wav: patched(wav, 40, b"\xff\xff\xff\x7f"), 2, "never finished"),
        (lambda wav: patched(wav, 40, struct.pack("<I", 64000)), 2, "it holds 2 s of the 4 s that"),
        (lambda wav: wav[:16044], 1, "it holds 1 s of the 2 s that"),
        (lambda wav: patched(wav, 40, struct.pack("<I", 16000)), 2, "it holds 2 s, more than the 1 s that"),
        (lambda wav: patched(wav, 40, struct.pack("<I", 2_000_000_000)), 2, "of the 35 hours that"),
    ],
)
def test_sizes_of_a_wav(change: Callable[[bytes], bytes], seconds: float, note: str) -> None:
    audio = load(change(plain()))
    assert audio.seconds == pytest.approx(seconds, abs=0.01)
    assert len(audio.notes) == bool(note)
    assert note in "".join(audio.notes)


@pytest.mark.parametrize(("total", "note"), [(0, ""), (8000, "more than the 0.5 s"), (160000, "of the 10 s")])
def test_totals_of_a_flac(total: int, note: str) -> None:
    content = bytearray(sample("flac"))
    # The last 36 bits before the checksum of 16 bytes (RFC 9639, section 8.2).
    content[21] = content[21] & 0xF0
    content[22:26] = struct.pack(">I", total)
    audio = load(bytes(content))
    assert audio.seconds == 2
    assert len(audio.notes) == bool(note)
    assert note in "".join(audio.notes)


def test_what_is_broken_in_the_middle_is_said(tmp_path: Path) -> None:
    content = sample("flac")
    middle = len(content) // 2
    assert "are missing in between" in said(patched(content, middle, bytes(300)))
    pages = sample("opus", seconds=10)
    third = [place for place in range(len(pages)) if pages[place : place + 4] == b"OggS"][3:5]
    assert "1 of its pages are missing" in said(pages[: third[0]] + pages[third[1] :])
    ogg = write(tmp_path / "a.ogg", noise(8, 16000), 16000).read_bytes()
    assert "its end may be missing" in said(ogg[: ogg.rfind(b"OggS")])


def test_what_is_broken_in_a_flac_is_skipped() -> None:
    content = sample("flac")
    middle = len(content) // 2
    audio = load(patched(content, middle, bytes([content[middle] ^ 255])))
    assert 1.5 < audio.seconds < 2
    assert any("broken data was skipped" in note or "missing" in note for note in audio.notes)
    whole = load(content).waveform
    assert np.array_equal(audio.waveform[:8000], whole[:8000])
    assert np.array_equal(audio.waveform[-8000:], whole[-8000:])


def test_a_broken_packet_does_not_end_a_recording() -> None:
    content = sample("aac")
    begins = [place for place in range(len(content) - 1) if content[place : place + 2] == content[:2]]
    middle = begins[len(begins) // 2]
    audio = load(patched(content, middle + 7, b"\xff" * 40))
    assert audio.seconds == pytest.approx(load(content).seconds, abs=0.2)
    assert any("broken data was skipped" in note for note in audio.notes)


def test_a_flac_without_its_beginning_is_known_by_its_name(tmp_path: Path) -> None:
    content = sample("flac")
    path = tmp_path / "cut.flac"
    path.write_bytes(content[len(content) // 2 :])
    audio = load(path)
    assert 0.7 < audio.seconds < 1.4
    assert any("its format is taken from its name, .flac" in note for note in audio.notes)
    for name, text in (("cut.dat", content[len(content) // 2 :]), ("text.flac", b"no sound " * 99)):
        (tmp_path / name).write_bytes(text)
        with pytest.raises(AudioError):
            load(tmp_path / name)


def test_junk_and_tags_around_mp3() -> None:
    content = sample("mp3")
    whole = load(content).seconds
    tag = b"TAG" + bytes(125)
    assert not said(content + tag)
    assert "more than the" in said(content + tag + content)
    for odd in (content + tag + content, b"a radio's own header" + content):
        assert load(odd).seconds >= whole


TAGS = {
    "ID3v1": b"TAG" + bytes(125),
    "ID3v2": b"ID3\x04\0\0\0\0\x02\x00" + b"A picture" * 28 + bytes(4),
    "APEv2": b"APETAGEX" + b"\xd0\x07\0\0" + b"title" * 20,
    "Lyrics3": b"LYRICSBEGIN" + b"IND00002" + b"words " * 20 + b"LYRICS200",
}


@pytest.mark.parametrize("tag", TAGS.values(), ids=TAGS)
@pytest.mark.parametrize("name", ["wav", "wav, float", "aiff", "mp3", "w64", "caf"])
def test_tags_and_zeros_after_a_recording_are_not_heard(name: str, tag: bytes) -> None:
    content = sample(name)
    whole = load(content)
    for rest in (tag, bytes(3000), bytes(100_000), tag + bytes(100_000)):
        audio = load(content + rest)
        # Where zeros follow, FFmpeg does not cut the last frame of an MP3.
        assert audio.seconds == pytest.approx(whole.seconds, abs=0.03 if name == "mp3" else 1e-3)
        assert not audio.notes


@pytest.mark.parametrize(
    ("first", "second"),
    [
        *product(["wav", "flac", "m4a", "webm", "wma", "caf", "opus"], ["mp3", "m4a", "flac", "wav"]),
        *product(
            ["wav", "m4a", "caf", "opus"], ["aac"]
        ),  # which nothing but its place tells from other bytes
    ],
)
def test_recordings_of_other_formats_that_follow_are_heard(first: str, second: str) -> None:
    one, two = sample(first), sample(second)
    audio = load(one + two)
    assert audio.seconds == pytest.approx(load(one).seconds + load(two).seconds, abs=0.15)
    assert any("joined" in note for note in audio.notes)


@pytest.mark.parametrize("name", ["webm", "mkv", "mp4, fragmented", "mp4"])
def test_joined_films_may_differ(name: str) -> None:
    audio = load(sample(name) + sample(name, channels=2, rate=48000))
    assert audio.seconds == pytest.approx(4, abs=0.3)
    assert audio.notes == ("several recordings are joined in it",)


@pytest.mark.parametrize("name", ["w64", "caf", "aiff", "au", "rf64"])
def test_sizes_of_other_chunks(name: str) -> None:
    content = sample(name)
    sign, after, size = {
        "w64": (b"data\xf3\xac", 16, 8),
        "caf": (b"data", 4, 8),
        "aiff": (b"SSND", 4, 4),
        "au": (b".snd", 8, 4),
        "rf64": (b"ds64", 16, 8),
    }[name]
    field = content.index(sign) + after
    order = "little" if name in ("w64", "rf64") else "big"
    stated = int.from_bytes(content[field : field + size], order)
    for value, note in (
        (0, "never finished"),
        (stated // 2, "more than the"),
        (stated * 2, "of the"),
    ):
        audio = load(patched(content, field, value.to_bytes(size, order)))
        assert audio.seconds == pytest.approx(2, abs=1e-3)
        assert len(audio.notes) == 1
        assert note in audio.notes[0]


@pytest.mark.parametrize("name", ["ac3", "ac3, large frames", "mp3", "aac"])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_may_be_a_coding_in_disguise(name: str, channels: int) -> None:
    content = sample(name, rate=48000)
    header = struct.pack("<HHIIHH", 1, channels, 48000, 96000 * channels, 2 * channels, 16)
    chunks = b"WAVEfmt \x10\0\0\0" + header + b"data" + struct.pack("<I", len(content)) + content
    disguised = load(b"RIFF" + struct.pack("<I", len(chunks)) + chunks)
    assert disguised.seconds == pytest.approx(2, abs=0.1)
    assert np.abs(np.fft.rfft(disguised.waveform[8000:24000])).argmax() == 500


def test_a_recording_inside_a_chunk_is_not_heard() -> None:
    other = sample("flac")
    chunk = b"JUNK" + struct.pack("<I", len(other)) + other + bytes(len(other) % 2)
    assert load(plain() + chunk).seconds == 2
    second = b"data" + struct.pack("<I", 400) + bytes(400)
    assert said(plain() + second) == "it holds a second chunk of audio, which is not heard"


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_but_a_header(name: str) -> None:
    content = encoded(name, noise(1, FORMATS[name].rate))
    for size in (4, 12, 48, 100, 200, 400):
        try:
            audio = load(content[:size])
        except AudioError as error:
            assert str(error).endswith(".")  # noqa: PT017
        else:
            assert audio.seconds < 1


def test_what_follows_a_recording_and_is_none_is_left() -> None:
    for rest in (b"RIFF\0\0\0\0WAVE", bytes(50), b"fLaC\0" + bytes(40)):
        assert load(plain() + rest).seconds == pytest.approx(2, abs=0.01)


def test_levels_that_no_recording_should_have(tmp_path: Path) -> None:
    samples = noise(1, 16000)
    assert said(write(tmp_path / "silent.wav", np.zeros((800, 1)))) == "it is silent"
    assert said(write(tmp_path / "dither.wav", np.full((800, 1), 1 / 32768))) == "it is silent"
    samples[3] = 1e30
    assert (
        said(write(tmp_path / "wild.wav", samples, subtype="FLOAT"))
        == "1 sample far beyond full scale was clipped"
    )
    samples[4:6] = np.nan
    assert "2 samples without a finite number were replaced" in said(
        write(tmp_path / "nan.wav", samples, subtype="FLOAT")
    )
    samples = noise(1, 16000) * 32768
    assert "most of its samples lie far beyond" in said(
        write(tmp_path / "wide.wav", samples, subtype="FLOAT")
    )
    overshooting = noise(1, 16000) * 5
    assert not said(write(tmp_path / "loud.wav", overshooting, subtype="FLOAT"))


def test_several_tracks() -> None:
    out = io.BytesIO()
    with av.open(out, "w", format="matroska") as container:
        streams = [container.add_stream("pcm_s16le", rate=16000, layout="mono") for _ in range(2)]
        frame = av.AudioFrame.from_ndarray(np.full((1, 16000), 8000, np.int16), format="s16", layout="mono")
        frame.sample_rate = 16000
        for stream in streams:
            container.mux(stream.encode(frame))
    assert said(out.getvalue()) == "it holds 2 sound tracks, of which one is heard"


def test_what_only_libsndfile_knows_may_be_cut(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mat", noise(2, 8000), 8000, format="MAT5", subtype="PCM_16")
    content = path.read_bytes()
    (tmp_path / "cut.mat").write_bytes(content[: len(content) // 2])
    assert soundfile.info(tmp_path / "cut.mat").frames > 0
    assert load(tmp_path / "cut.mat").seconds == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("bytes_lost", [200, 500, 900, 3000])
def test_every_end_that_an_mp3_lacks_is_said(bytes_lost: int) -> None:
    content = sample("mp3", channels=2, rate=44100)
    assert not said(content)
    assert "its header announces" in said(content[:-bytes_lost])
