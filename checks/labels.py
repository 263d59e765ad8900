"""AudioSet's labels of a clip as a WAV file, and the encoder that reads them from it.

For a study on captions whose audio is not at hand: each sample is a label, as a rater ticked it, and becomes
a frame of its own, so that attention has something to choose from.
"""

import io
import wave
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from otoscribe.model.encoders.base import Encoder, EncoderSpec

CLASSES = 527
"""Of AudioSet."""
RATE = 16000
"""Of the files; they are read as they are, since no other rate is asked for."""
STEP = 32
"""Between the 16-bit samples of two neighbouring labels; the lowest is louder than what counts as silence."""


def wav_of(labels: Sequence[int]) -> bytes:
    """Return a WAV file of labels, each from 0 to `CLASSES` - 1, one at least."""
    samples = b"".join((STEP * (label + 1)).to_bytes(2, "little") for label in labels)
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples)
    return written.getvalue()


class Labels(Encoder):
    """One frame for each label: 1 at its place, 0 elsewhere."""

    spec: ClassVar[EncoderSpec] = EncoderSpec(
        name="checks.labels:Labels", sample_rate=RATE, outputs={"embeddings": CLASSES}
    )

    def forward(self, waveforms: Tensor) -> dict[str, Tensor]:
        """Read [clips, samples] as [clips, samples, CLASSES]; what is no label is the nearest one."""
        labels = (waveforms * (2**15 / STEP) - 1).round().clamp(0, CLASSES - 1).long()
        return {"embeddings": F.one_hot(labels, CLASSES).to(torch.float32)}

    def times(self, samples: int) -> list[tuple[float, float]]:
        """Return where the samples stand in the file; nothing is said of when the clip sounds so."""
        return [(sample / RATE, (sample + 1) / RATE) for sample in range(samples)]
