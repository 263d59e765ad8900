"""libsndfile, for what FFmpeg does not know: MATLAB's and HTK's files, little-endian AU, old samplers."""

from collections.abc import Iterator

import numpy as np

from otoscribe.audio import unreadable
from otoscribe.audio.notes import Notes, spoken
from otoscribe.audio.sources import Part
from otoscribe.audio.waveform import Block, check_kind
from otoscribe.errors import AudioError

_BLOCK = 1 << 18
"""Values (samples times channels) decoded at a time: 1 MiB."""


def decoded(part: Part, notes: Notes) -> Iterator[Block]:
    """Decode a file.

    Raises:
        AudioError: it is no recording that is known here either, or nothing in it can be decoded.
    """
    import soundfile  # here and not at the top: it is hardly ever needed

    name = part.source.name
    part.seek(0)
    part.allowance = 2**63
    try:
        file = soundfile.SoundFile(part)
    except (soundfile.LibsndfileError, TypeError) as unknown:
        part.check()
        raise AudioError(f"{name} {unreadable.reason(part)}") from unknown
    with file:
        check_kind(name, file.channels, file.samplerate)
        size = max(1, _BLOCK // file.channels)
        heard = 0
        while True:
            try:
                samples = file.read(size, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError:
                part.check()
                break  # said below
            part.check()
            if not len(samples):
                break
            heard += len(samples)
            yield Block(np.ascontiguousarray(samples), file.samplerate)
        if heard < file.frames:
            whole = spoken(file.frames / file.samplerate)
            notes.add(f"it holds {spoken(heard / file.samplerate)} of the {whole} that its header announces")
