"""Long recordings: encoded in pieces while they are read, to what one pass gives."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from otoscribe.audio.waveform import Audio
from otoscribe.bundle.bundle import Bundle, EncodedClip
from otoscribe.bundle.manifest import MANIFEST
from otoscribe.bundle.session import NO_MEMORY
from otoscribe.errors import AudioError, BundleError, UsageError
from otoscribe.listen import hearing
from otoscribe.listen.captioner import Captioner
from otoscribe.listen.results import Caption, Failure
from support.tiny_bundle import SAMPLE_RATE, write_tiny_bundle

PIECE, LONG = 2.0, 9.03
"""Seconds."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny", sources=True)


@pytest.fixture(scope="module")
def bundle(tiny: Path) -> Bundle:
    return Bundle.open(tiny)


@pytest.fixture
def in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otoscribe.audio.pieces.PIECE_SECONDS", PIECE)


@pytest.fixture(scope="module")
def stereo() -> np.ndarray:
    """Return two channels of noise that differ, [samples, 2]."""
    return np.random.default_rng(0).uniform(-0.5, 0.5, (round(LONG * SAMPLE_RATE), 2)).astype(np.float32)


def written(folder: Path, samples: np.ndarray) -> Path:
    soundfile.write(folder / "long.wav", samples, SAMPLE_RATE, subtype="FLOAT")
    return folder / "long.wav"


def require_same(found: EncodedClip, expected: EncodedClip) -> None:
    assert (found.seconds, found.places) == (expected.seconds, expected.places)
    for name in ("keys", "values", "sources"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-5)


@pytest.mark.usefixtures("in_pieces")
@pytest.mark.parametrize("channel", [None, 2, "each"])
def test_a_long_recording_is_heard_as_in_one_pass(
    tmp_path: Path, bundle: Bundle, stereo: np.ndarray, channel: str | int | None
) -> None:
    sounds = hearing.load(bundle, written(tmp_path, stereo), channel)
    mixed = {None: [stereo.mean(axis=1)], 2: [stereo[:, 1]], "each": list(stereo.T)}[channel]
    assert [sound.channel for sound in sounds] == {None: [None], 2: [2], "each": [1, 2]}[channel]
    for sound, waveform in zip(sounds, mixed, strict=True):
        assert isinstance(sound, hearing.Features)
        assert sound.values.shape == (91, 800)
        require_same(hearing.encoded(bundle, sound, None), bundle.listen([waveform])[0])


@pytest.mark.usefixtures("in_pieces")
def test_channels_that_cancel_are_found_at_the_end_of_a_long_recording(
    tmp_path: Path, bundle: Bundle, stereo: np.ndarray
) -> None:
    opposite = np.stack([0.5 * stereo[:, 0], -stereo[:, 0]], axis=1)
    opposite[:, 0] += 0.5 * stereo[:, 0]
    (sound,) = hearing.load(bundle, written(tmp_path, opposite))
    assert any("cancel" in note for note in sound.notes)
    require_same(hearing.encoded(bundle, sound, None), bundle.listen([opposite[:, 0]])[0])


@pytest.mark.usefixtures("in_pieces")
def test_a_short_recording_stays_a_waveform(tmp_path: Path, bundle: Bundle, stereo: np.ndarray) -> None:
    """Which ends where another frame than a piece's would begin."""
    border = round(PIECE * SAMPLE_RATE) + 800
    for samples, kind in ((border - 1, Audio), (border, hearing.Features)):
        (sound,) = hearing.load(bundle, written(tmp_path, stereo[:samples, 0]))
        assert isinstance(sound, kind)
        require_same(hearing.encoded(bundle, sound, None), bundle.listen([stereo[:samples, 0]])[0])


def test_captions_of_long_recordings_are_those_of_one_pass(
    tmp_path: Path, tiny: Path, stereo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner, path = Captioner(tiny), written(tmp_path, stereo)

    def captions() -> Sequence[Caption | Failure]:
        return [
            captioner.caption(path),
            captioner.caption_waveform(stereo, SAMPLE_RATE),
            *captioner.caption_many([path, path], channel="each"),
        ]

    expected = captions()
    monkeypatch.setattr("otoscribe.audio.pieces.PIECE_SECONDS", PIECE)
    for caption, one in zip(captions(), expected, strict=True):
        assert isinstance(caption, Caption)
        assert isinstance(one, Caption)
        assert (caption.file, caption.channel, caption.seconds) == (one.file, one.channel, one.seconds)
        assert caption.caption == one.caption
        assert caption.log_probability == pytest.approx(one.log_probability, abs=1e-4)


@pytest.mark.parametrize("field", [{"hop": 800, "before": 0, "after": 1}, None])
def test_what_a_model_does_not_take_fails_alone(
    tmp_path: Path, tiny: Path, stereo: np.ndarray, field: dict[str, int] | None
) -> None:
    copy = Path(shutil.copytree(tiny, tmp_path / "copy"))
    manifest = json.loads((copy / MANIFEST).read_text("utf-8"))
    changes = {"longest_seconds": 6.0, "receptive_field": field}
    (copy / MANIFEST).write_text(json.dumps(manifest | changes), "utf-8")
    path, short = written(tmp_path, stereo), tmp_path / "short.wav"
    soundfile.write(short, stereo[: 5 * SAMPLE_RATE], SAMPLE_RATE)
    captioner = Captioner(copy)
    failure, caption = captioner.caption_many([path, short])
    assert isinstance(failure, Failure)
    assert "lasts more than 0.1 minutes, which is too long" in failure.message
    assert isinstance(caption, Caption)
    with pytest.raises(AudioError, match="too long"):
        captioner.caption_waveform(stereo, SAMPLE_RATE)


@pytest.mark.usefixtures("in_pieces")
def test_memory_that_runs_out_in_a_piece_is_that_recordings_failure(
    tmp_path: Path, tiny: Path, stereo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner, path = Captioner(tiny), written(tmp_path, stereo)

    def full(self: Bundle, waveforms: object) -> None:
        raise BundleError(NO_MEMORY)

    monkeypatch.setattr(Bundle, "encode", full)
    (failure,) = captioner.caption_many([path])
    assert isinstance(failure, Failure)
    assert failure.message == f"{path} got no caption. {NO_MEMORY}"


def test_one_caption_is_of_one_channel(tmp_path: Path, tiny: Path, stereo: np.ndarray) -> None:
    with pytest.raises(UsageError, match="name one by its number"):
        Captioner(tiny).caption(written(tmp_path, stereo), channel="each")  # type: ignore[arg-type]
