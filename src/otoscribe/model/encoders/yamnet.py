"""YAMNet: a MobileNet v1 trained on AudioSet's labels; 1024-wide embeddings and 521 class scores.

Source: https://github.com/tensorflow/models/tree/master/research/audioset/yamnet (`yamnet.py`, `features.py`,
`params.py`). The network is Howard et al., "MobileNets" (2017), over patches of 96 frames x 64 mel bands.
"""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from otoscribe.fetch.published import PublishedFile
from otoscribe.model.encoders.base import Encoder, EncoderSettings, EncoderSpec
from otoscribe.model.spectrogram import FrontEnd, LogMelPatches
from otoscribe.model.weights.yamnet_files import CHANNELS, CLASSES, EMBEDDING, read_weights

STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
"""Of the 13 separable convolutions (layers 2 to 14); the first convolution has stride 2."""

FRONT_END = FrontEnd(
    sample_rate=16000,
    window_length=400,
    hop_length=160,
    fft_length=512,
    mel_bands=64,
    minimum_hz=125.0,
    maximum_hz=7500.0,
    log_offset=0.001,
    patch_frames=96,
)

WEIGHTS = (
    (
        PublishedFile(
            "yamnet.h5",
            ("https://storage.googleapis.com/audioset/yamnet.h5",),
            15_296_092,
            "sha256:13c3308955bbfaef262f175ac9c40e47b134573a93984f009220dd7cc12a1744",
        ),
    ),
    (
        PublishedFile(
            "yamnet.tflite",
            (
                "https://storage.googleapis.com/download.tensorflow.org/models/tflite/task_library/"
                "audio_classification/android/lite-model_yamnet_classification_tflite_1.tflite",
                "https://storage.googleapis.com/mediapipe-assets/yamnet_audio_classifier_with_metadata.tflite",
            ),
            4_126_810,
            "sha256:10c95ea3eb9a7bb4cb8bddf6feb023250381008177ac162ce169694d05c317de",
        ),
    ),
)
"""Keras's weights in 32 bits, or the TensorFlow Lite network's in 8."""


class SameConvolution(nn.Module):
    """A 3 x 3 convolution that pads as TensorFlow's SAME does on the even sizes that stride 2 meets here.

    TensorFlow puts the one row and column of zeros that stride 2 needs after the image; PyTorch's padding of
    1 would shift the grid, and the embeddings by a third of their size.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int, groups: int) -> None:
        super().__init__()
        self.after = nn.ZeroPad2d((0, 1, 0, 1)) if stride == 2 else nn.Identity()
        padding = 0 if stride == 2 else 1
        self.convolution = nn.Conv2d(channels_in, channels_out, 3, stride, padding, groups=groups)

    def forward(self, images: Tensor) -> Tensor:
        """Return the convolved images [batch, channels_out, height / stride, width / stride]."""
        convolved: Tensor = self.convolution(self.after(images))
        return convolved


class Trunk(nn.Module):
    """Patches [batch, 96, 64] → embeddings [batch, 1024], non-negative.

    Batch normalisation is folded into the convolutions, as it never changes after pretraining.

    Args:
        activation: what follows every convolution.
    """

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activation = activation
        pairs = list(pairwise(CHANNELS))
        self.first = SameConvolution(1, CHANNELS[0], stride=2, groups=1)
        self.depthwise = nn.ModuleList(
            SameConvolution(channels, channels, stride, groups=channels)
            for (channels, _), stride in zip(pairs, STRIDES, strict=True)
        )
        self.pointwise = nn.ModuleList(nn.Conv2d(*pair, 1) for pair in pairs)

    def forward(self, patches: Tensor) -> Tensor:
        """Return one embedding for every patch."""
        images = self.activation(self.first(patches[:, None]))
        # A fifth faster on a CPU: both kinds of convolution read all channels of a pixel together.
        images = images.contiguous(memory_format=torch.channels_last)
        for depthwise, pointwise in zip(self.depthwise, self.pointwise, strict=True):
            images = self.activation(pointwise(self.activation(depthwise(images))))
        embeddings: Tensor = images.mean(dim=(2, 3))
        return embeddings


def outputs(trunk: nn.Module, classifier: nn.Module, patches: Tensor) -> dict[str, Tensor]:
    """Return embeddings, logits and scores of patches [..., 96, 64]; all clips' patches pass in one batch."""
    embeddings: Tensor = trunk(patches.flatten(end_dim=-3)).unflatten(0, patches.shape[:-2])
    logits: Tensor = classifier(embeddings)
    return {"embeddings": embeddings, "logits": logits, "scores": torch.sigmoid(logits)}


class YamnetSettings(EncoderSettings):
    """Settings of YAMNet."""

    name: Literal["yamnet"] = "yamnet"


class Yamnet(Encoder):
    """The whole YAMNet, 3.7 million weights. Scores are independent probabilities of AudioSet's classes."""

    Settings: ClassVar[type[EncoderSettings]] = YamnetSettings
    spec = EncoderSpec(
        name="yamnet",
        paper="Hershey et al., CNN architectures for large-scale audio classification, ICASSP 2017",
        licence="Apache-2.0",
        sample_rate=FRONT_END.sample_rate,
        outputs={"embeddings": EMBEDDING, "logits": CLASSES, "scores": CLASSES},
        version=1,
        files=WEIGHTS,
    )

    def __init__(self, settings: EncoderSettings) -> None:
        super().__init__(settings)
        self.patches = LogMelPatches(FRONT_END, settings.overlap)
        self.receptive_field = self.patches.windows.receptive_field()
        self.trunk = Trunk(nn.ReLU())
        self.classifier = nn.Linear(EMBEDDING, CLASSES)

    def forward(self, waveforms: Tensor) -> dict[str, Tensor]:
        """Return embeddings, logits and scores [clips, frames, width] of equally long clips."""
        return outputs(self.trunk, self.classifier, self.patches(waveforms))

    def times(self, samples: int) -> list[tuple[float, float]]:
        """Return the 0.975 s that each embedding hears."""
        return self.patches.windows.times(samples, FRONT_END.sample_rate)

    def state_of(self, files: Mapping[str, Path]) -> dict[str, Tensor]:
        """Read weights in the layout of the published `yamnet.h5`, or of `yamnet.tflite`.

        Raises:
            WeightsError: the file is damaged or holds another network.
        """
        (path,) = files.values()
        return read_weights(path)
