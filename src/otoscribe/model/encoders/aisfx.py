"""aiSFX: a network trained on nine libraries of sound effects; 512-wide embeddings and 79 classes.

Source: https://github.com/alisonbma/aiSFX (`inference.py`, `models/cnn2d.py`). The spectrogram is Essentia's
(`FrameCutter`, `Windowing`, `MelBands`), written anew; where Essentia puts faint noise in the place of silent
frames, silence stays here.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from otoscribe.errors import WeightsError
from otoscribe.fetch.published import PublishedFile
from otoscribe.model.encoders.base import Encoder, EncoderSettings, EncoderSpec
from otoscribe.model.spectrogram import FrontEnd, LogMelPatches
from otoscribe.model.weights.torch_file import folded, read_torch, take

CHANNELS = (1, 64, 128, 256, 512)
"""Of the patches, and of the four blocks of two convolutions."""
HEAD = (512, 256, 128, 79)
"""Widths of the classifier's layers, for the 79 classes of `soundlyTrain`, the second of nine libraries."""

FRONT_END = FrontEnd(
    sample_rate=44100,
    window_length=2048,
    hop_length=1024,
    fft_length=2048,
    mel_bands=96,
    minimum_hz=0.0,
    maximum_hz=22050.0,
    filters="essentia",
    power=2,
    symmetric=True,
    log_offset=1e-4,
    patch_frames=100,
    whole_only=True,
)
BEFORE = 1024
"""Zeros before the clip, so that its first frame is centred on its first sample."""
LARGEST = 9.457798957824707
"""What the published code divides log10(10000 x + 1) by."""

NUMPY_NUMBERS = (
    # As the file names them; NumPy 2 has moved the first, and keeps the old name for files like this.
    (np.float64(0.0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    (np.dtype, "numpy.dtype"),
    (type(np.dtype(np.int64)), "numpy.dtypes.Int64DType"),
)
"""Beside its weights, the file counts the libraries in numbers of NumPy's."""


class AisfxSettings(EncoderSettings):
    """Settings of aiSFX."""

    name: Literal["aisfx"] = "aisfx"


class Aisfx(Encoder):
    """The network X-Sequential-CE and one of its nine classifiers.

    As in the published code, what fills no patch at the end of a clip is left out, and a clip shorter than
    the 2.3 s of one patch is filled up with zeros.
    """

    Settings: ClassVar[type[EncoderSettings]] = AisfxSettings
    spec = EncoderSpec(
        name="aisfx",
        paper="Ma and Lerch, Representation learning for the automatic indexing of sound effects libraries, "
        "ISMIR 2022",
        licence="CC-BY-4.0",
        sample_rate=FRONT_END.sample_rate,
        outputs={"embeddings": CHANNELS[-1], "logits": HEAD[-1]},
        version=1,
        files=(
            (
                PublishedFile(
                    "aisfx_checkpoint.pth",
                    ("https://github.com/alisonbma/aiSFX/raw/main/src/aisfx/models/checkpoint.pth",),
                    24_900_277,
                    "sha256:499ea75909c932a2f94c35fa722fa4fabc5bcb7e84917209cc5f7402627b7eb5",
                ),
            ),
        ),
    )

    def __init__(self, settings: EncoderSettings) -> None:
        super().__init__(settings)
        self.patches = LogMelPatches(FRONT_END, settings.overlap)
        self.receptive_field = self.patches.windows.receptive_field(BEFORE)
        self.convolutions = nn.ModuleList()
        for before, after in pairwise(CHANNELS):
            self.convolutions += [nn.Conv2d(width, after, 3, padding=1) for width in (before, after)]
        layers = [layer for widths in pairwise(HEAD) for layer in (nn.Linear(*widths), nn.ReLU())]
        self.classifier = nn.Sequential(*layers[:-1])

    def forward(self, waveforms: Tensor) -> dict[str, Tensor]:
        """Return embeddings and logits [clips, frames, width] of equally long clips."""
        after = self._padded(waveforms.shape[-1]) - BEFORE - waveforms.shape[-1]
        log_mel = self.patches(F.pad(waveforms, (BEFORE, after)))  # [clips, patches, 100, 96]
        # ln(x + 1e-4) → log10(10000 x + 1), as a share of the largest.
        scaled = (log_mel - math.log(FRONT_END.log_offset)) / (math.log(10.0) * LARGEST)
        found = self.embed(scaled.flatten(end_dim=1))
        embeddings = found.reshape(*log_mel.shape[:2], found.shape[-1])
        return {"embeddings": embeddings, "logits": self.classifier(embeddings)}

    def embed(self, patches: Tensor) -> Tensor:
        """Return the embeddings [batch, 512], none negative, of spectrograms [batch, frames, bands]."""
        images = patches[:, None]
        for number, convolution in enumerate(self.convolutions):
            if number in (2, 4, 6):
                images = F.max_pool2d(images, 2)
            images = F.relu(convolution(images))
        return images.mean(dim=3).amax(dim=2)

    def times(self, samples: int) -> list[tuple[float, float]]:
        """Return the 2.3 s that each embedding hears."""
        return self.patches.windows.times(self._padded(samples), FRONT_END.sample_rate, BEFORE)

    def state_of(self, files: Mapping[str, Path]) -> dict[str, Tensor]:
        """Read the published checkpoint, whose batch normalisation is folded into the convolutions.

        Raises:
            WeightsError: the file is damaged or holds another network.
        """
        (path,) = files.values()
        found = read_torch(path, NUMPY_NUMBERS)
        if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[0], dict)):
            raise WeightsError(
                f"{path} is no checkpoint of aiSFX: it holds no pair of weights and libraries."
            )
        state = dict(found[0])
        new = {}
        for number, layer in enumerate(self.convolutions):
            block, part = divmod(number, 2)
            name = f"embedding_net.conv_block{block + 1}"
            assert isinstance(layer, nn.Conv2d)
            new[f"convolutions.{number}.weight"], new[f"convolutions.{number}.bias"] = folded(
                state, f"{name}.conv{part + 1}", f"{name}.bn{part + 1}", layer, path
            )
        for name, value in self.classifier.state_dict().items():
            new[f"classifier.{name}"] = take(state, f"fc.1.{name}", tuple(value.shape), path)
        return new

    @staticmethod
    def _padded(samples: int) -> int:
        """Return the length of a padded clip: frames go on until one is centred on its end or after it."""
        return BEFORE + FRONT_END.hop_length * (
            (samples + FRONT_END.hop_length - 1) // FRONT_END.hop_length + 1
        )
