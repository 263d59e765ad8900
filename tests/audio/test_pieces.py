"""Pieces: their kept frames are those of the whole recording, whatever its length and its blocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otoscribe.audio.pieces import ReceptiveField, joined, pieces

RATE = 1


def windows_of(samples: np.ndarray, length: int, hop: int, before: int, whole_only: bool) -> np.ndarray:
    """Return what every window holds, [frames, length]: filled up with -1 before the clip, 0 after it."""
    padded = np.concatenate([np.full(before, -1.0), samples])
    incomplete = 0 if whole_only else hop - 1
    count = 1 + max((len(padded) - length + incomplete) // hop, 0)
    padded = np.append(padded, np.zeros(length + hop))
    return np.stack([padded[frame * hop : frame * hop + length] for frame in range(count)])


@given(
    length=st.integers(1, 12),
    hop=st.integers(1, 7),
    before=st.integers(0, 9),
    whole_only=st.booleans(),
    samples=st.integers(1, 300),
    block=st.integers(1, 200),
    seconds=st.integers(1, 60),
)
def test_kept_frames_of_pieces_are_those_of_the_whole(
    length: int, hop: int, before: int, whole_only: bool, samples: int, block: int, seconds: int
) -> None:
    field = ReceptiveField(hop=hop, before=-(-before // hop), after=-(-length // hop))
    recording = np.arange(1.0, samples + 1).astype(np.float32)[:, None]
    blocks = (recording[start : start + block] for start in range(0, samples, block))
    frames = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("otoscribe.audio.pieces.PIECE_SECONDS", seconds)
        most = (field.frames(RATE) + field.before + field.after) * hop
        for piece in pieces(blocks, field, RATE):
            assert piece.samples[0] == piece.start + 1
            assert len(piece.samples) < most or (piece.start, len(piece.samples)) == (0, samples)
            found = windows_of(piece.samples[:, 0], length, hop, before, whole_only)[piece.kept]
            assert piece.is_last or len(found) == field.frames(RATE)
            frames.append(found)
            end = piece.start + len(piece.samples)
    assert piece.is_last
    assert end == samples
    expected = windows_of(recording[:, 0], length, hop, before, whole_only)
    np.testing.assert_array_equal(np.concatenate(frames), expected)


def test_what_needs_a_recording_whole_gets_it_in_one_piece() -> None:
    blocks = [np.random.default_rng(0).random((size, 2), np.float32) for size in (3, 1, 70)]
    (piece,) = pieces(iter(blocks), None, RATE)
    assert piece.is_last
    np.testing.assert_array_equal(piece.samples, np.concatenate(blocks))
    np.testing.assert_array_equal(joined(blocks), piece.samples)
