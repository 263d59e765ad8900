"""The encoder: a compact YAMNet that gives nearly what the whole one gives, in two thirds of the weights.

Layer by layer the compact network is fitted to what the whole one makes of real sounds: recordings cropped,
mixed and filtered into far more than they are. All of that happens on mel magnitudes, where a crop, a gain, a
filter and a sum cost next to nothing. Every fit is a regression with one solution, so this takes about a
minute, has no checkpoint, and needs none. Training by gradients after it was tried, on squared differences of
logits and embeddings and cross-entropy of scores: in 1500 steps of 32 patches it won little on other
recordings, and lost at first. A higher rank won far more.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from otoscribe import audio
from otoscribe.learn.encoders.compact_yamnet import CompactYamnet
from otoscribe.learn.encoders.yamnet import FRONT_END, Yamnet
from otoscribe.learn.features import LogMel

Magnitudes = NDArray[np.float32]
"""Mel magnitudes of one recording, [frames, mel_bands]."""

FOLDERS = ("esc10", "urbansound8k")
SEED = 0
FRACTION = 0.35
"""Rank of a 1 x 1 convolution over its smaller channel count. With 1 / 8, half of a clip's five likeliest
classes are wrong; much more than this does not fit into the package beside the decoder."""
PATCHES = 1024
"""Patches to fit to; their activations fill 3 GB."""
RIDGE = 0.1
"""Strength of the ridge, in mean squares of an input."""
OVERLAP = 0.5

PITCH = 1.4
"""Every recording is also heard faster or slower, up to this ratio."""
SOUNDS = (0.4, 0.35, 0.25)
"""Shares of patches with one, two and three recordings in them."""
GAIN = (-30.0, 6.0)
"""Gain of a recording, in dB."""
NOISE_SHARE = 0.4
NOISE_GAIN = (-50.0, 0.0)
"""Gain of the noise in that share of patches, in dB; before it, the noise's RMS is 0.1."""
NOISE_SECONDS = 60
FILTER_KNOTS = 6
FILTER_SPREAD = 6.0
"""A filter joins that many levels, evenly spaced over the mel bands, of this standard deviation in dB."""

HIGHEST_ACTIVATION = 6.0
"""The 8-bit network was fitted with ReLU6, and its scores are a little better with it than with ReLU."""


def distil(data: Path, work: Path, log: Callable[[str], None]) -> Path:
    """Make `work`/compact_yamnet.safetensors, unless it is there.

    Args:
        data: folder with weights/yamnet.tflite and audio/*/*.ogg.
        work: folder of what the recipe makes.
        log: takes a line of progress.
    """
    path = work / "compact_yamnet.safetensors"
    if not path.exists():
        full = clamped(Yamnet.load(data / "weights" / "yamnet.tflite", OVERLAP))
        sounds = Sounds([file for name in FOLDERS for file in sorted((data / "audio" / name).glob("*.ogg"))])
        log(f"Fitting the compact encoder to {sounds.seconds / 60:.0f} minutes of sound.")
        fitted(full, sounds.draw(PATCHES)).save(path)
    return path


def clamped(full: Yamnet) -> Yamnet:
    """Make every ReLU of `full` a ReLU6, by clamping what goes into it."""

    def clamp(_layer: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        return output.clamp(max=HIGHEST_ACTIVATION)

    for layer in (full.trunk.first, *full.trunk.depthwise, *full.trunk.pointwise):
        layer.register_forward_hook(clamp)
    return full


class Sounds:
    """Recordings as mel magnitudes, at their own pitch and at another, and the mixtures drawn from them."""

    def __init__(self, paths: list[Path]) -> None:
        self._log_mel = LogMel(FRONT_END)
        random = np.random.default_rng(SEED)
        self.recordings: list[Magnitudes] = []
        for path in paths:
            for ratio in (1.0, PITCH ** random.uniform(-1.0, 1.0)):
                waveform = audio.load(path, round(FRONT_END.sample_rate * ratio)).waveform
                self.recordings.append(self._magnitudes(waveform))
        noise = random.standard_normal(NOISE_SECONDS * FRONT_END.sample_rate).astype(np.float32)
        self.noise = self._magnitudes(0.1 * noise)

    @property
    def seconds(self) -> float:
        """Duration of all recordings."""
        return sum(map(len, self.recordings)) * FRONT_END.hop_length / FRONT_END.sample_rate

    def _magnitudes(self, waveform: NDArray[np.float32]) -> Magnitudes:
        missing = max(0, FRONT_END.window_length - len(waveform))
        log_mel = self._log_mel(torch.from_numpy(np.pad(waveform, (0, missing)))[None])[0]
        magnitudes: Magnitudes = (log_mel.exp() - FRONT_END.log_offset).clamp(min=0.0).numpy()
        return magnitudes

    def draw(self, count: int, seed: int = SEED) -> Tensor:
        """Return log-mel patches [count, patch_frames, mel_bands] that `seed` decides."""
        random = np.random.default_rng(seed)
        return torch.from_numpy(np.stack([self._mixture(random) for _ in range(count)]))

    def _mixture(self, random: np.random.Generator) -> Magnitudes:
        power = np.zeros((FRONT_END.patch_frames, FRONT_END.mel_bands), dtype=np.float32)
        for _ in range(random.choice(len(SOUNDS), p=SOUNDS) + 1):
            recording = self.recordings[random.integers(len(self.recordings))]
            power += _varied(recording, GAIN, random) ** 2
        if random.random() < NOISE_SHARE:
            power += _varied(self.noise, NOISE_GAIN, random) ** 2
        # Sounds that know nothing of each other add up in power.
        mixture: Magnitudes = np.log(np.sqrt(power) + FRONT_END.log_offset)
        return mixture


def _varied(recording: Magnitudes, gain: tuple[float, float], random: np.random.Generator) -> Magnitudes:
    """Return one patch of a recording from a random place, at a random level, through a random filter."""
    frames, bands = FRONT_END.patch_frames, FRONT_END.mel_bands
    # What is shorter than a patch stands somewhere in it, with silence around.
    missing = max(0, frames - len(recording))
    padded = np.pad(recording, ((missing, missing), (0, 0)))
    start = random.integers(len(padded) - frames + 1)
    knots = random.normal(random.uniform(*gain), FILTER_SPREAD, FILTER_KNOTS)
    decibels = np.interp(np.linspace(0.0, FILTER_KNOTS - 1.0, bands), np.arange(FILTER_KNOTS), knots)
    varied: Magnitudes = padded[start : start + frames] * (10.0 ** (decibels / 20.0)).astype(np.float32)
    return varied


def fitted(full: Yamnet, patches: Tensor) -> CompactYamnet:
    """Return the compact network with every pair fitted in turn to the outputs of `full` on `patches`.

    The nearest weights (`CompactYamnet.from_yamnet`) do not give the nearest outputs. Regression of low rank
    does, and each pair makes good what those before it lost (Zhang et al., "Accelerating very deep
    convolutional networks for classification and detection", 2016, without its nonlinearity).
    """
    wanted: list[Tensor] = []

    def record(_layer: nn.Module, _inputs: object, output: Tensor) -> None:
        wanted.append(output)

    handles = [layer.register_forward_hook(record) for layer in (*full.trunk.pointwise, full.classifier)]
    full.embed(patches)
    for handle in handles:
        handle.remove()
    compact = CompactYamnet.from_yamnet(full, FRACTION)
    images = torch.relu(compact.trunk.first(patches[:, None]))
    for depthwise, pair, layer, outputs in zip(
        compact.trunk.depthwise, compact.trunk.pointwise, full.trunk.pointwise, wanted[:-1], strict=True
    ):
        images = torch.relu(depthwise(images))
        fit(pair, layer.get_parameter("weight"), images, outputs)
        images = torch.relu(pair(images))
    fit(compact.classifier, full.classifier.weight, images.mean(dim=(2, 3)), wanted[-1])
    return compact


def fit(pair: nn.Module, weight: Tensor, inputs: Tensor, outputs: Tensor) -> None:
    """Set a pair's weights to the regression of outputs on inputs, both [batch, channels, ...].

    Ridge regression that shrinks towards `weight` of the whole layer, then cut to the pair's rank.
    """
    first, second, bias = (pair.get_parameter(name) for name in ("0.weight", "1.weight", "1.bias"))
    x, y = (rows.movedim(1, -1).flatten(end_dim=-2) for rows in (inputs, outputs))
    x_mean, y_mean = x.mean(0), y.mean(0)
    x, y = x - x_mean, y - y_mean
    whole = weight.flatten(start_dim=1).T
    moments = x.T @ x
    ridge = RIDGE * moments.trace() / len(moments) * torch.eye(len(moments))
    whole = whole + torch.linalg.solve(moments + ridge, x.T @ (y - x @ whole))
    directions = torch.linalg.eigh(whole.T @ moments @ whole).eigenvectors
    basis = directions[:, -len(first) :]
    first.copy_((whole @ basis).T.reshape(first.shape))
    second.copy_(basis.reshape(second.shape))
    bias.copy_(y_mean - x_mean @ whole @ basis @ basis.T)
