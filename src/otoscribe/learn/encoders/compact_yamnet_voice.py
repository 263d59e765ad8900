"""The compact YAMNet, and beside its class logits the pitch of voices, which tells men from women.

AudioSet's 521 classes that YAMNet knows hold speech, but neither male nor female speech.
"""

from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from otoscribe.learn.encoders import ENCODERS, Encoder, EncoderSpec
from otoscribe.learn.encoders.compact_yamnet import CompactYamnet
from otoscribe.learn.encoders.yamnet_weights import CLASSES
from otoscribe.learn.pitch import VoicePitch

PITCHES = ("low", "high", "voiced")
"""What follows the logits in `hearing`: shares in [0, 1] of the frames under an embedding."""


@ENCODERS.register("compact_yamnet_voice")
class CompactYamnetVoice(Encoder):
    """A compact YAMNet's outputs, and `hearing`: its 521 logits, then the shares of low, high, any voice.

    Pitch needs no weights, so weights and their files are those of a `CompactYamnet`.

    Args:
        overlap: share of the audio under one embedding that the next one hears again, 0 or 0.5.
    """

    spec = EncoderSpec(
        name="compact_yamnet_voice",
        paper=f"{CompactYamnet.spec.paper}; pitch: Boersma, Accurate short-term analysis of the fundamental "
        "frequency and the harmonics-to-noise ratio of a sampled sound, IFA Proceedings 17, 1993",
        licence=CompactYamnet.spec.licence,
        weights_url=None,
        weights_sha256=None,
        weights_bytes=None,
        version=1,
        front_end=CompactYamnet.spec.front_end,
        outputs={**CompactYamnet.spec.outputs, "hearing": CLASSES + len(PITCHES)},
    )

    def __init__(self, overlap: float = 0.0) -> None:
        super().__init__(overlap)
        self.compact = CompactYamnet(overlap)
        self.pitch = VoicePitch(self.patches.step_samples, self.patches.steps_per_patch)
        self.freeze()

    @classmethod
    def from_compact(cls, compact: CompactYamnet) -> Self:
        """Return the encoder that hears classes with `compact`, which it freezes."""
        encoder = cls(compact.overlap)
        encoder.compact = compact
        return encoder.freeze()

    @classmethod
    def load(cls, path: Path, overlap: float = 0.0) -> Self:
        """Return the encoder with the weights that `CompactYamnet.save` wrote to `path`.

        Raises:
            WeightsError: the file is missing, damaged, or holds another network.
        """
        return cls.from_compact(CompactYamnet.load(path, overlap))

    def forward(self, waveforms: Tensor) -> dict[str, Tensor]:
        """Return embeddings, logits, scores and hearing [batch, frames, width] of equally long clips."""
        found: dict[str, Tensor] = self.compact(waveforms)
        voices = self.pitch(waveforms, self.frames(waveforms.shape[-1]))
        return {**found, "hearing": torch.cat([found["logits"], voices], dim=-1)}
