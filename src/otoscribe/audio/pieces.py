"""Pieces: how a recording of any length is encoded part by part, as it would be in one pass.

An encoder says how far its frames see, and everything follows: neighbouring pieces share the samples that
frames of both see, and the first and the last piece end where the recording does, so that whatever the
encoder does at the ends of a recording it does there, and its frames between them see no end at all.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field

from otoscribe.audio.waveform import Waveform
from otoscribe.settings import Frozen

PIECE_SECONDS = 15.0
"""Of a piece: so long that what is computed twice, at its ends, is little, and so short that memory is used
again. YAMNet is 1.26 times as fast as in one pass; see docs/decisions/0025-yamnet-speed.md."""


class ReceptiveField(Frozen):
    """Which samples a frame of an encoder depends on, in whole hops.

    Frame i depends on samples from `(i - before) * hop` on and before `(i + after) * hop`, and on nothing
    else of a recording that goes on at both sides. Of one that ends there, it may depend on where it does.
    """

    hop: Annotated[int, Field(ge=1, le=60_000_000)]
    """Samples from one frame to the next."""
    before: Annotated[int, Field(ge=0, le=1000)]
    after: Annotated[int, Field(ge=1, le=1000)]

    def frames(self, sample_rate: int) -> int:
        """Return how many frames a piece gives, but the last: about `PIECE_SECONDS` of them."""
        return max(int(PIECE_SECONDS * sample_rate) // self.hop, self.before + self.after)


class Piece(NamedTuple):
    """Samples that are encoded together."""

    samples: Waveform
    """[samples, channels]."""
    start: int
    """Which sample of the recording is the first one."""
    kept: slice
    """Which of the frames that it gives count; those beside them belong to its neighbours."""
    is_last: bool


def joined(blocks: Iterable[Waveform]) -> Waveform:
    """Return the whole of a recording, [samples, channels], of blocks with equally many channels."""
    # Grown by reallocation, since joining a list would hold everything twice.
    gathered, channels = bytearray(), 1
    for block in blocks:
        gathered += block.tobytes()
        channels = block.shape[1]
    return np.frombuffer(gathered, dtype=np.float32).reshape(-1, channels)


def pieces(blocks: Iterable[Waveform], field: ReceptiveField | None, sample_rate: int) -> Iterator[Piece]:
    """Cut a recording into pieces, none of them much longer than `PIECE_SECONDS`.

    The kept frames of all pieces, one after the other, are those of the recording as a whole. A recording of
    `PIECE_SECONDS` or little more is one piece.

    Args:
        blocks: of the recording, float32 [samples, channels], of any lengths.
        field: of the encoder; None: it takes a recording whole, so there is one piece.
        sample_rate: Hz, of the blocks.
    """
    if field is None:
        yield Piece(joined(blocks), 0, slice(0, None), is_last=True)
        return
    hop, before, after = field.hop, field.before, field.after
    frames = field.frames(sample_rate)
    waiting: list[Waveform] = []
    start, held, first = 0, 0, 0  # of what waits: its first sample, its length, frames of earlier pieces
    for block in blocks:
        waiting.append(block)
        held += len(block)
        # The last frame must see no end, and the next piece no other one than the recording's.
        while held >= (first + frames + after) * hop:
            samples = np.concatenate(waiting)
            seen = (first + frames - 1 + after) * hop
            yield Piece(samples[:seen], start, slice(first, first + frames), is_last=False)
            done = (first + frames - before) * hop
            waiting = [samples[done:]]
            start, held, first = start + done, held - done, before
    yield Piece(np.concatenate(waiting), start, slice(first, None), is_last=True)
