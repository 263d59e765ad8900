"""COALA: an audio network that learned to agree with the tags of Freesound's sounds; 1152-wide embeddings.

Source: https://github.com/xavierfav/coala (`encode.py`, `utils.py`, `models_t1000.py`), its network
`dual_ae_c`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otoscribe.errors import WeightsError
from otoscribe.fetch.published import PublishedFile
from otoscribe.model.encoders.base import Encoder, EncoderSettings, EncoderSpec
from otoscribe.model.spectrogram import FrontEnd, LogMelPatches
from otoscribe.model.weights.coala_scaler import OFFSET, SCALE
from otoscribe.model.weights.torch_file import State, folded, read_torch, take

CHANNELS, LAYERS = 128, 5
EMBEDDING = CHANNELS * 3 * 3

FRONT_END = FrontEnd(
    sample_rate=22000,
    window_length=1024,
    hop_length=512,
    fft_length=1024,
    mel_bands=96,
    minimum_hz=0.0,
    maximum_hz=11000.0,
    filters="librosa",
    log_offset=float(np.finfo(np.float32).eps),
    patch_frames=96,
    whole_only=True,
)
SHORTEST = 220000
"""Samples to which shorter clips are filled up."""
CENTRING = FRONT_END.window_length // 2
"""Samples that are mirrored at both ends, so that a frame is centred on the first sample."""


class CoalaSettings(EncoderSettings):
    """Settings of COALA."""

    name: Literal["coala"] = "coala"


class Coala(Encoder):
    """The audio encoder of `dual_ae_c`: `embeddings` as its authors use them, and `aligned`, the tags' space.

    As in the published code, a clip shorter than 10 s is filled up with zeros, and what fills no patch of
    2.2 s at its end is left out. The faint noise that the published code adds to short clips, other with each
    call, is not added.
    """

    Settings: ClassVar[type[EncoderSettings]] = CoalaSettings
    spec = EncoderSpec(
        name="coala",
        paper="Favory et al., COALA: co-aligned autoencoders for learning semantically enriched audio "
        "representations, ICML workshop on self-supervision in audio and speech 2020",
        licence="MIT",
        sample_rate=FRONT_END.sample_rate,
        outputs={"embeddings": EMBEDDING, "aligned": EMBEDDING},
        version=1,
        files=(
            (
                PublishedFile(
                    "audio_encoder_epoch_200.pt",
                    (
                        "https://github.com/xavierfav/coala/raw/b791ad6bb5c4f7b8f8f8fa8e0c5bd5b89b0ecbc3/"
                        "saved_models/dual_ae_c/audio_encoder_epoch_200.pt",
                    ),
                    None,
                    "git:3035f977feb330cdfdb0502733bce415509937ce",
                ),
            ),
        ),
    )

    scale: Tensor
    offset: Tensor

    def __init__(self, settings: EncoderSettings) -> None:
        super().__init__(settings)
        self.patches = LogMelPatches(FRONT_END, settings.overlap)
        self.receptive_field = self.patches.windows.receptive_field(CENTRING, SHORTEST)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(CHANNELS if layer else 1, CHANNELS, 4, stride=2, padding=1) for layer in range(LAYERS)
        )
        self.projection = nn.Linear(EMBEDDING, EMBEDDING, bias=False)
        self.register_buffer("scale", torch.tensor(SCALE), persistent=False)
        self.register_buffer("offset", torch.tensor(OFFSET), persistent=False)

    def forward(self, waveforms: Tensor) -> dict[str, Tensor]:
        """Return both outputs [clips, frames, 1152] of equally long clips."""
        filled = F.pad(waveforms, (0, self._filled(waveforms.shape[-1]) - waveforms.shape[-1]))
        # Mirrored without the sample at the edge itself.
        mirrored = F.pad(filled[:, None], (CENTRING, CENTRING), mode="reflect")[:, 0]
        log_mel = self.patches(mirrored)  # [clips, patches, 96 frames, 96 bands]
        # One scale and offset for each frame of a patch; so the published code does it.
        scaled = log_mel * self.scale[:, None] + self.offset[:, None]
        embeddings = self.embed(scaled.flatten(end_dim=1)).reshape(*log_mel.shape[:2], EMBEDDING)
        return {"embeddings": embeddings, "aligned": self.projection(embeddings)}

    def embed(self, patches: Tensor) -> Tensor:
        """Return the embeddings [batch, 1152], none negative, of scaled patches [batch, frames, bands]."""
        images = patches.transpose(1, 2)[:, None]  # [batch, 1, bands, frames]
        for convolution in self.convolutions:
            images = F.relu(convolution(images))
        return images.flatten(1)

    def times(self, samples: int) -> list[tuple[float, float]]:
        """Return the 2.3 s that each embedding hears."""
        padded = self._filled(samples) + 2 * CENTRING
        return self.patches.windows.times(padded, FRONT_END.sample_rate, CENTRING)

    def state_of(self, files: Mapping[str, Path]) -> dict[str, Tensor]:
        """Read the published state, whose batch normalisation is folded into the convolutions.

        Raises:
            WeightsError: the file is damaged or holds another network.
        """
        (path,) = files.values()
        found = read_torch(path)
        if not isinstance(found, dict):
            raise WeightsError(f"{path} holds no state of a network.")
        state: State = {}
        for number, layer in enumerate(self.convolutions):
            assert isinstance(layer, nn.Conv2d)
            # Convolution, normalisation, activation, dropout.
            names = (f"audio_encoder.{4 * number}", f"audio_encoder.{4 * number + 1}")
            weight, bias = folded(found, *names, layer, path)
            state |= {f"convolutions.{number}.weight": weight, f"convolutions.{number}.bias": bias}
        state["projection.weight"] = take(found, "fc_audio.0.weight", (EMBEDDING, EMBEDDING), path)
        return state

    @staticmethod
    def _filled(samples: int) -> int:
        return cast(int, torch.sym_max(samples, SHORTEST))  # type: ignore[no-untyped-call]
