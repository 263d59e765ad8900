"""YAMNet as its 8-bit network computes it, and beside its logits the pitch of voices.

AudioSet's 521 classes that YAMNet knows hold speech, but neither male nor female speech.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from otoscribe.model.encoders.base import EncoderSettings, EncoderSpec
from otoscribe.model.encoders.yamnet import Trunk, Yamnet
from otoscribe.model.pitch import VoicePitch
from otoscribe.model.weights.yamnet_files import CLASSES

PITCHES = ("low", "high", "voiced")
"""What follows the logits in `hearing`: shares in [0, 1] of the frames under an embedding."""


class YamnetVoiceSettings(EncoderSettings):
    """Settings of YAMNet with the pitch of voices."""

    name: Literal["yamnet_voice"] = "yamnet_voice"
    output: str = "hearing"


class YamnetVoice(Yamnet):
    """YAMNet's outputs with activations cut at 6, and `hearing`: 521 logits, then low, high, any voice.

    The published code's activations have no upper limit, those of the published 8-bit network end at 6
    (ReLU6). With the 8-bit network's weights, the limit brings true labels a little nearer to the top.
    """

    Settings = YamnetVoiceSettings
    spec = EncoderSpec(
        name="yamnet_voice",
        paper=f"{Yamnet.spec.paper}; pitch: Boersma, Accurate short-term analysis of the fundamental "
        "frequency and the harmonics-to-noise ratio of a sampled sound, IFA Proceedings 17, 1993",
        licence=Yamnet.spec.licence,
        sample_rate=Yamnet.spec.sample_rate,
        outputs={**Yamnet.spec.outputs, "hearing": CLASSES + len(PITCHES)},
        version=1,
        files=Yamnet.spec.files,
    )

    def __init__(self, settings: EncoderSettings) -> None:
        super().__init__(settings)
        self.trunk = Trunk(nn.ReLU6())
        self.pitch = VoicePitch(self.patches.windows.hop, self.patches.steps_per_patch)
        self.receptive_field = self.patches.windows.receptive_field(length=self.pitch.length)

    def forward(self, waveforms: Tensor) -> dict[str, Tensor]:
        """Return embeddings, logits, scores and hearing [clips, frames, width] of equally long clips."""
        found = super().forward(waveforms)
        voices = self.pitch(waveforms, self.patches.windows.count(waveforms.shape[-1]))
        return {**found, "hearing": torch.cat([found["logits"], voices], dim=-1)}

    def local_features(self, waveforms: Tensor) -> Tensor:
        """Return the chosen output; of `hearing` the logits, and what shares of the pitch follow from.

        Those depend on the whole clip: on how loud it is, a voice is loud enough or not.
        """
        if self.settings.output != "hearing":
            return super().local_features(waveforms)
        logits = super().forward(waveforms)["logits"]
        voices = self.pitch.local(waveforms, self.patches.windows.count(waveforms.shape[-1]))
        return torch.cat([logits, voices], dim=-1)

    def finish(self, local_features: Tensor) -> Tensor:
        """Return the chosen output of whole clips."""
        if self.settings.output != "hearing":
            return local_features
        logits, voices = local_features[..., :CLASSES], local_features[..., CLASSES:]
        return torch.cat([logits, self.pitch.shares(voices)], dim=-1)
