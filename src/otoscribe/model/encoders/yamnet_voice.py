"""YAMNet as its 8-bit network computes it, and beside its logits the pitch of voices.

AudioSet's 521 classes that YAMNet knows hold speech, but neither male nor female speech.
"""

from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from otoscribe.model.encoders.base import ENCODERS, Encoder, EncoderSpec
from otoscribe.model.encoders.yamnet import Trunk, Yamnet, outputs
from otoscribe.model.pitch import VoicePitch
from otoscribe.model.weights.yamnet_files import CLASSES, EMBEDDING, read_weights

PITCHES = ("low", "high", "voiced")
"""What follows the logits in `hearing`: shares in [0, 1] of the frames under an embedding."""


@ENCODERS.register("yamnet_voice")
class YamnetVoice(Encoder):
    """YAMNet's outputs with activations cut at 6, and `hearing`: 521 logits, then low, high, any voice.

    The published code's activations have no upper limit, those of the published 8-bit network end at 6
    (ReLU6). With the 8-bit network's weights, the limit brings true labels a little nearer to the top.

    Args:
        overlap: share of the audio under one embedding that the next one hears again, 0 or 0.5.
    """

    spec = EncoderSpec(
        name="yamnet_voice",
        paper=f"{Yamnet.spec.paper}; pitch: Boersma, Accurate short-term analysis of the fundamental "
        "frequency and the harmonics-to-noise ratio of a sampled sound, IFA Proceedings 17, 1993",
        licence=Yamnet.spec.licence,
        weights_url=Yamnet.spec.weights_url,
        weights_sha256=Yamnet.spec.weights_sha256,
        weights_bytes=Yamnet.spec.weights_bytes,
        version=1,
        front_end=Yamnet.spec.front_end,
        outputs={**Yamnet.spec.outputs, "hearing": CLASSES + len(PITCHES)},
    )

    def __init__(self, overlap: float = 0.0) -> None:
        super().__init__(overlap)
        self.trunk = Trunk(nn.ReLU6())
        self.classifier = nn.Linear(EMBEDDING, CLASSES)
        self.pitch = VoicePitch(self.patches.step_samples, self.patches.steps_per_patch)
        self.freeze()

    @classmethod
    def load(cls, path: Path, overlap: float = 0.0) -> Self:
        """Return the encoder with YAMNet's weights, from the same files as `Yamnet.load`.

        Raises:
            WeightsError: the file is missing, damaged, or holds another network.
        """
        encoder = cls(overlap)
        encoder.load_state_dict(read_weights(path, cls.spec.weights_bytes, cls.spec.weights_sha256))
        return encoder

    def forward(self, waveforms: Tensor) -> dict[str, Tensor]:
        """Return embeddings, logits, scores and hearing [batch, frames, width] of equally long clips."""
        found = outputs(self.trunk, self.classifier, self.patches(waveforms))
        voices = self.pitch(waveforms, self.frames(waveforms.shape[-1]))
        return {**found, "hearing": torch.cat([found["logits"], voices], dim=-1)}
