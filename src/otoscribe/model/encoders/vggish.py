"""VGGish: a VGG network trained on the labels of YouTube-8M; 128-wide embeddings.

Source: https://github.com/tensorflow/models/tree/master/research/audioset/vggish (`vggish_slim.py`,
`vggish_input.py`, `vggish_postprocess.py`), and https://github.com/harritaylor/torchvggish for its weights in
PyTorch's form. The network is Simonyan and Zisserman's configuration A (2015) without its last group of
convolutions, over patches of 96 frames x 64 mel bands.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otoscribe.errors import WeightsError
from otoscribe.fetch.published import PublishedFile
from otoscribe.model.encoders.base import Encoder, EncoderSettings, EncoderSpec
from otoscribe.model.spectrogram import FrontEnd, LogMelPatches
from otoscribe.model.weights.tf_checkpoint import read_checkpoint
from otoscribe.model.weights.torch_file import State, read_torch, take

EMBEDDING = 128
CONVOLUTIONS = {
    "conv1": (1, 64),
    "conv2": (64, 128),
    "conv3/conv3_1": (128, 256),
    "conv3/conv3_2": (256, 256),
    "conv4/conv4_1": (256, 512),
    "conv4/conv4_2": (512, 512),
}
"""Channels into and out of each; the pooling that halves both sides follows where `POOLED` says."""
POOLED = (0, 1, 3, 5)
DENSE = {"fc1/fc1_1": (6 * 4 * 512, 4096), "fc1/fc1_2": (4096, 4096), "fc2": (4096, EMBEDDING)}

FRONT_END = FrontEnd(
    sample_rate=16000,
    window_length=400,
    hop_length=160,
    fft_length=512,
    mel_bands=64,
    minimum_hz=125.0,
    maximum_hz=7500.0,
    log_offset=0.01,
    patch_frames=96,
    whole_only=True,
)

PCA = PublishedFile(
    "vggish_pca_params.npz",
    ("https://storage.googleapis.com/audioset/vggish_pca_params.npz",),
    73_020,
    "sha256:4d878af3e306defbfb37095365aa7e5a6cecb86bad13e859e626151c4e6a8b9d",
)
WEIGHTS = (
    (
        PublishedFile(
            "vggish_model.ckpt",
            ("https://storage.googleapis.com/audioset/vggish_model.ckpt",),
            None,
            "sha256:0962b1914e3e053922d957c45bc84a78c985765641dc6bceeeb3a7d8dfecfdf6",
        ),
        PCA,
    ),
    (
        PublishedFile(
            "vggish-10086976.pth",
            ("https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth",),
            None,
            "sha256:10086976245803799d9194e9a73d9b6c1549c71d1b80106f5cade5608a561f4b",
        ),
        PCA,
    ),
)
"""TensorFlow's checkpoint or PyTorch's state, and in any case the principal components of AudioSet."""


class VggishSettings(EncoderSettings):
    """Settings of VGGish."""

    name: Literal["vggish"] = "vggish"


class Vggish(Encoder):
    """VGGish in all its published readings, 72 million weights; as an output each.

    `embeddings` is what Google's current code returns, before the activation of the last layer; `rectified`
    is after it, as older code and torchvggish have it. `postprocessed` and `rectified_postprocessed` are
    these as in AudioSet's released features: principal components, cut at ±2, as numbers from 0 to 255, which
    are not rounded here.

    As in the published code, what fills no patch at the end of a clip is left out. A clip shorter than the
    0.975 s of one patch, which that code refuses, is filled up with zeros.
    """

    Settings: ClassVar[type[EncoderSettings]] = VggishSettings
    spec = EncoderSpec(
        name="vggish",
        paper="Hershey et al., CNN architectures for large-scale audio classification, ICASSP 2017",
        licence="Apache-2.0",
        sample_rate=FRONT_END.sample_rate,
        outputs=dict.fromkeys(
            ("embeddings", "rectified", "postprocessed", "rectified_postprocessed"), EMBEDDING
        ),
        version=1,
        files=WEIGHTS,
    )

    def __init__(self, settings: EncoderSettings) -> None:
        super().__init__(settings)
        self.patches = LogMelPatches(FRONT_END, settings.overlap)
        self.receptive_field = self.patches.windows.receptive_field()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(*channels, 3, padding=1) for channels in CONVOLUTIONS.values()
        )
        self.dense = nn.ModuleList(nn.Linear(*widths) for widths in DENSE.values())
        self.components = nn.Linear(EMBEDDING, EMBEDDING)

    def forward(self, waveforms: Tensor) -> dict[str, Tensor]:
        """Return all outputs [clips, frames, 128] of equally long clips."""
        log_mel = self.patches(waveforms)  # [clips, patches, 96, 64]
        embeddings = self.embed(log_mel.flatten(end_dim=1)).reshape(*log_mel.shape[:2], EMBEDDING)
        rectified = F.relu(embeddings)
        return {
            "embeddings": embeddings,
            "rectified": rectified,
            "postprocessed": self.postprocess(embeddings),
            "rectified_postprocessed": self.postprocess(rectified),
        }

    def embed(self, patches: Tensor) -> Tensor:
        """Return the embeddings [batch, 128] of log-mel patches [batch, 96, 64]."""
        images = patches[:, None]
        for number, convolution in enumerate(self.convolutions):
            images = F.relu(convolution(images))
            if number in POOLED:
                images = F.max_pool2d(images, 2)
        # TensorFlow lays images out as height, width, channels.
        values = images.permute(0, 2, 3, 1).flatten(1)
        first, second, last = self.dense
        embeddings: Tensor = last(F.relu(second(F.relu(first(values)))))
        return embeddings

    def postprocess(self, embeddings: Tensor) -> Tensor:
        """Return principal components, cut at ±2, from 0 to 255."""
        cut: Tensor = self.components(embeddings).clamp(-2.0, 2.0)
        return (cut + 2.0) * (255.0 / 4.0)

    def times(self, samples: int) -> list[tuple[float, float]]:
        """Return the 0.975 s that each embedding hears."""
        return self.patches.windows.times(samples, FRONT_END.sample_rate)

    def state_of(self, files: Mapping[str, Path]) -> dict[str, Tensor]:
        """Read TensorFlow's checkpoint or torchvggish's state, and the principal components.

        Raises:
            WeightsError: a file is damaged or holds another network.
        """
        components = files[PCA.name]
        (path,) = (path for name, path in files.items() if name != PCA.name)
        read = _from_torch if path.suffix == ".pth" else _from_tensorflow
        return {**read(path), **_components(components)}


def _from_tensorflow(path: Path) -> State:
    found = {name: torch.from_numpy(value) for name, value in read_checkpoint(path).items()}
    state: State = {}
    for number, (layer, (before, after)) in enumerate(CONVOLUTIONS.items()):
        kernel = take(found, f"vggish/{layer}/weights", (3, 3, before, after), path)
        state[f"convolutions.{number}.weight"] = kernel.permute(3, 2, 0, 1)
        state[f"convolutions.{number}.bias"] = take(found, f"vggish/{layer}/biases", (after,), path)
    for number, (layer, (before, after)) in enumerate(DENSE.items()):
        state[f"dense.{number}.weight"] = take(found, f"vggish/{layer}/weights", (before, after), path).T
        state[f"dense.{number}.bias"] = take(found, f"vggish/{layer}/biases", (after,), path)
    return state


def _from_torch(path: Path) -> State:
    found = read_torch(path)
    if not isinstance(found, dict):
        raise WeightsError(f"{path} holds no state of a network.")
    # In nn.Sequential, whose layers without weights count as well.
    places = zip((0, 3, 6, 8, 11, 13), CONVOLUTIONS.values(), strict=True)
    shapes: dict[str, tuple[int, ...]] = {}
    shapes |= {f"features.{place}": (after, before, 3, 3) for place, (before, after) in places}
    shapes |= {f"embeddings.{2 * i}": (after, before) for i, (before, after) in enumerate(DENSE.values())}
    ours = [f"convolutions.{i}" for i in range(len(CONVOLUTIONS))] + [f"dense.{i}" for i in range(len(DENSE))]
    state: State = {}
    for name, (layer, shape) in zip(ours, shapes.items(), strict=True):
        state[f"{name}.weight"] = take(found, f"{layer}.weight", shape, path)
        state[f"{name}.bias"] = take(found, f"{layer}.bias", shape[:1], path)
    return state


def _components(path: Path) -> State:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: torch.from_numpy(np.array(arrays[name], np.float64)) for name in arrays}
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path} is damaged ({error}). Download it again.") from error
    vectors = take(found, "pca_eigen_vectors", (EMBEDDING, EMBEDDING), path)
    means = take(found, "pca_means", (EMBEDDING,), path)
    # P (x - m) = P x - P m.
    return {"components.weight": vectors, "components.bias": -(vectors.double() @ means.double()).float()}
