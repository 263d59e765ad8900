"""Small files of each format, cut, joined and corrupted at random: nothing is lost unsaid."""

import io

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otoscribe.audio import reading
from otoscribe.errors import AudioError
from support.encoded import FORMATS, encoded
from support.recordings import noise

# In all more than 2,000 inputs.
_EACH = 80

_WHOLE = {
    name: [encoded(name, noise(seconds, form.rate, seed=seed)) for seed, seconds in enumerate((0.4, 1.1))]
    for name, form in FORMATS.items()
}


@st.composite
def damaged(draw: st.DrawFn, name: str) -> bytes:
    content = bytearray(draw(st.sampled_from(_WHOLE[name])))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(content)))
        match draw(st.sampled_from(["cut", "cut the head", "join", "change", "insert", "delete"])):
            case "cut":
                del content[place:]
            case "cut the head":
                del content[:place]
            case "join":
                content += draw(st.sampled_from(_WHOLE[name]))
            case "change":
                for index in range(place, min(len(content), place + draw(st.integers(1, 40)))):
                    content[index] = draw(st.integers(0, 255))
            case "insert":
                content[place:place] = draw(st.binary(max_size=60))
            case "delete":
                del content[place : place + draw(st.integers(1, 600))]
    return bytes(content)


def plainly(content: bytes) -> float:
    """Return how many seconds FFmpeg's own command line decodes, which passes over broken packets."""
    seconds = 0.0
    try:
        with av.open(io.BytesIO(content)) as container:
            for packet in container.demux(container.streams.best("audio")):
                try:
                    seconds += sum(frame.samples / frame.sample_rate for frame in packet.decode())
                except av.FFmpegError:
                    continue
    except (av.FFmpegError, ValueError, AttributeError):
        pass
    return seconds


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_damage_gives_a_waveform_or_a_sentence(name: str) -> None:
    @settings(
        max_examples=_EACH,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(content=damaged(name))
    def check(content: bytes) -> None:
        try:
            audio = reading.load(content, FORMATS[name].rate, longest_seconds=3600)
        except AudioError as error:
            assert str(error).endswith(".")  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
            return
        assert len(audio.waveform)
        assert np.isfinite(audio.waveform).all()
        assert np.abs(audio.waveform).max() <= 1
        assert all(note and "\n" not in note for note in audio.notes)
        if not audio.notes:
            # A frame may be trimmed where a recording begins or ends.
            assert audio.seconds > plainly(content) - 0.07
        blocks = list(reading.stream(content, FORMATS[name].rate, 0.25))
        np.testing.assert_array_equal(np.concatenate(blocks), audio.waveform)

    check()


def test_there_are_two_thousand_of_them() -> None:
    assert _EACH * len(FORMATS) >= 2000
