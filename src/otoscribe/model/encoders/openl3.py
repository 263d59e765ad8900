"""OpenL3: a network that learned from video which sounds go with which pictures; 512-wide embeddings.

Source: https://github.com/marl/openl3, version 0.4.2 (`core.py`, `models.py`): the audio network with 128 mel
bands that was trained on videos of environmental sounds, behind its default front end, kapre's.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otoscribe.errors import WeightsError
from otoscribe.fetch.published import PublishedFile
from otoscribe.model.encoders.base import Encoder, EncoderSettings, EncoderSpec
from otoscribe.model.spectrogram import Mel, MelSpectrum
from otoscribe.model.weights.keras_h5 import read_layers
from otoscribe.model.weights.torch_file import State, folded, take
from otoscribe.model.windows import Windows

CHANNELS = ((1, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512))
"""Into and out of each convolution; after every second but the last, pooling halves both sides."""
EMBEDDING, LARGE_EMBEDDING = 512, 6144
EPSILON = 1e-3
"""Added to the variance by Keras's batch normalisation."""

SPECTRUM = MelSpectrum(
    sample_rate=48000,
    window_length=2048,
    hop_length=242,
    fft_length=2048,
    mel_bands=128,
    minimum_hz=0.0,
    maximum_hz=24000.0,
    filters="librosa",
)
WINDOW = 48000
"""Samples under one embedding."""
FRAMES = 199
"""Frames that begin in a window; the last ones reach into the zeros after it."""


class Openl3Settings(EncoderSettings):
    """Settings of OpenL3."""

    name: Literal["openl3"] = "openl3"
    centred: bool = True
    """Whether half a second of zeros is put before the clip, so that an embedding's time is its centre, as
    OpenL3 does by default."""


class Openl3(Encoder):
    """The audio network, environmental sounds, 128 mel bands; embeddings of both published widths."""

    Settings: ClassVar[type[EncoderSettings]] = Openl3Settings
    spec = EncoderSpec(
        name="openl3",
        paper="Cramer et al., Look, listen, and learn more: design choices for deep audio embeddings, "
        "ICASSP 2019",
        licence="CC-BY-4.0",
        sample_rate=SPECTRUM.sample_rate,
        outputs={"embeddings": EMBEDDING, "embeddings_6144": LARGE_EMBEDDING},
        version=1,
        files=(
            (
                PublishedFile(
                    "openl3_audio_mel128_env-v0_4_0.h5.gz",
                    ("https://github.com/marl/openl3/raw/models/openl3_audio_mel128_env-v0_4_0.h5.gz",),
                    None,
                    "git:8c3dfee140f7776373841e5938a3e76c54f28942",
                ),
            ),
        ),
    )

    def __init__(self, settings: EncoderSettings) -> None:
        super().__init__(settings)
        assert isinstance(settings, Openl3Settings)
        self.before = WINDOW // 2 if settings.centred else 0
        self.windows = Windows(WINDOW, int(WINDOW * (1.0 - settings.overlap)))
        self.receptive_field = self.windows.receptive_field(self.before)
        self.mel = Mel(SPECTRUM)
        self.scale, self.offset = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1))
        self.convolutions = nn.ModuleList(nn.Conv2d(*channels, 3, padding=1) for channels in CHANNELS)

    def forward(self, waveforms: Tensor) -> dict[str, Tensor]:
        """Return embeddings of both widths [clips, frames, width] of equally long clips."""
        decibels = self.decibels(waveforms)  # [clips, windows, 128, 199]
        images = self.images(decibels.flatten(end_dim=1))
        shape = decibels.shape[:2]
        # TensorFlow lays images out as height, width, channels.
        large = F.max_pool2d(images, (4, 8)).permute(0, 2, 3, 1)
        return {
            "embeddings": images.amax(dim=(2, 3)).reshape(*shape, EMBEDDING),
            "embeddings_6144": large.reshape(*shape, LARGE_EMBEDDING),
        }

    def decibels(self, waveforms: Tensor) -> Tensor:
        """Return the mel spectrograms of all windows, [clips, windows, bands, frames].

        They are in decibels below the largest magnitude of the same window, down to -80.
        """
        windows = self.windows.split(F.pad(waveforms, (self.before, 0)))  # [clips, windows, WINDOW]
        after = (FRAMES - 1) * SPECTRUM.hop_length + SPECTRUM.window_length - WINDOW
        mel = self.mel(F.pad(windows.flatten(end_dim=1), (0, after))).transpose(1, 2)
        decibels = 10.0 * torch.log10(mel.clamp_min(1e-10))
        relative = (decibels - decibels.amax(dim=(1, 2), keepdim=True)).clamp_min(-80.0)
        return relative.reshape(*windows.shape[:2], *relative.shape[1:])

    def images(self, decibels: Tensor) -> Tensor:
        """Return what the last convolution gives for spectrograms [batch, 128, 199]: [batch, 512, 16, 24]."""
        images = decibels[:, None] * self.scale + self.offset
        *inner, last = self.convolutions
        for number, convolution in enumerate(inner):
            images = F.relu(convolution(images))
            if number in (1, 3, 5):
                images = F.max_pool2d(images, 2)
        found: Tensor = last(images)
        return found

    def times(self, samples: int) -> list[tuple[float, float]]:
        """Return the second that each embedding hears."""
        return self.windows.times(samples + self.before, SPECTRUM.sample_rate, self.before)

    def state_of(self, files: Mapping[str, Path]) -> dict[str, Tensor]:
        """Read weights in the layout of the published file, packed or unpacked.

        Batch normalisation is folded into the convolutions; before the first, it is a scale and an offset, as
        zeros that pad a convolution are not normalised.

        Raises:
            WeightsError: the file is damaged or holds another network.
        """
        (path,) = files.values()
        found = _by_place(path)
        gamma, beta, mean, variance = (
            take(found, f"normalisation 0.{part}", (1,), path).double()
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / torch.sqrt(variance + EPSILON)
        state = {"scale": scale.float(), "offset": (beta - mean * scale).float()}
        *inner, last = self.convolutions
        for number, layer in enumerate(inner):
            assert isinstance(layer, nn.Conv2d)
            name = f"convolutions.{number}"
            state[f"{name}.weight"], state[f"{name}.bias"] = folded(
                found, f"convolution {number}", f"normalisation {number + 1}", layer, path, EPSILON
            )
        for part, value in last.state_dict().items():
            name = f"{len(inner)}.{part}"
            state[f"convolutions.{name}"] = take(found, f"convolution {name}", tuple(value.shape), path)
        if found:
            raise WeightsError(f"{path} is no OpenL3 of this kind: it has more layers.")
        return state


def _by_place(path: Path) -> State:
    """Return the file's tensors, each layer named by its kind and place among those of its kind.

    Of the official file's layers, only their order is what the published code relies on.
    """
    state: State = {}
    normalisations = convolutions = 0
    for _, tensors in read_layers(path):
        values = [torch.from_numpy(tensor) for tensor in tensors]
        if len(values) == 4:
            parts = ("weight", "bias", "running_mean", "running_var")
            state |= {
                f"normalisation {normalisations}.{part}": v for part, v in zip(parts, values, strict=True)
            }
            normalisations += 1
        elif len(values) == 2 and values[0].ndim == 4:
            kernel, bias = values
            # Keras orders height, width, in, out.
            state[f"convolution {convolutions}.weight"] = kernel.permute(3, 2, 0, 1)
            state[f"convolution {convolutions}.bias"] = bias
            convolutions += 1
        else:
            raise WeightsError(f"{path} is no OpenL3: a layer has {len(values)} tensors.")
    return state
