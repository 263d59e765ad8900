"""Mel front ends: waveform → mel spectrogram → the log-mel patches that an encoder's network reads.

The short-time Fourier transform is one strided convolution with windowed cosines and sines. It frames
explicitly, skips the bins that no mel band reads, is as exact as an FFT in float32, and exports to ONNX as it
stands, so training and listening run the same front end.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from otoscribe.model.windows import Windows, overlapping

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class MelSpectrum:
    """Every number that decides a mel spectrogram."""

    sample_rate: int
    """Samples per second of the waveform."""
    window_length: int
    """Samples under the Hann window."""
    hop_length: int
    """Samples from one frame to the next."""
    fft_length: int
    """Points of the Fourier transform; a frame fills the first `window_length` of them."""
    mel_bands: int
    minimum_hz: float
    """Lower edge of the first band."""
    maximum_hz: float
    """Upper edge of the last band."""
    filters: Literal["tensorflow", "torchaudio", "librosa", "essentia"] = "tensorflow"
    """Whose mel bands they are, see `mel_matrix`."""
    power: Literal[1, 2] = 1
    """What the bands sum up: magnitudes, or their squares."""
    symmetric: bool = False
    """Whether the Hann window ends with a zero as it begins with one; else it is one period of a cosine."""
    preemphasis: float = 0.0
    """How much of the sample before it each sample of a frame loses, once the frame has lost its mean, as in
    Kaldi; with 0 it keeps both."""

    def __post_init__(self) -> None:
        if self.window_length > self.fft_length:
            raise ValueError("A window is longer than the Fourier transform that takes it.")


@dataclass(frozen=True, kw_only=True)
class FrontEnd(MelSpectrum):
    """Every number that decides log-mel patches."""

    log_offset: float
    """Added to the mel magnitude before the natural logarithm."""
    patch_frames: int
    """Frames in one patch, which gives one embedding."""
    whole_only: bool = False
    """Leave out what fills no patch at the end of a clip that has others; else zeros fill up the last one."""

    def windows(self, overlap: float) -> Windows:
        """Return where the patches lie.

        Args:
            overlap: share of a patch that the next one repeats, 0 or 0.5.

        Raises:
            ValueError: a patch has an odd number of frames, which cannot overlap by half.
        """
        hop_frames = self.patch_frames * (1.0 - overlap)
        if not hop_frames.is_integer():
            raise ValueError(
                f"A patch of {self.patch_frames} frames cannot overlap the next one by {overlap}."
            )
        patch_samples = (self.patch_frames - 1) * self.hop_length + self.window_length
        return Windows(patch_samples, int(hop_frames) * self.hop_length, self.whole_only)


def mel_matrix(spectrum: MelSpectrum) -> Array:
    """Return the weight of every frequency bin in every mel band, [fft_length // 2 + 1, mel_bands].

    `tensorflow`: HTK's scale, 1127 ln(1 + f / 700); triangles that are linear in mel and reach 1 at their
    centre; the bin at 0 Hz belongs to no band. As TensorFlow's `linear_to_mel_weight_matrix`, and Kaldi.

    `torchaudio`: the same bands, whose triangles are linear in hertz. As torchaudio's MelSpectrogram.

    `essentia`: the same triangles, each divided by its sum. As Essentia's MelBands with `htkMel`, `warping`
    and `unit_sum`.

    `librosa`: Slaney's scale, linear below 1000 Hz and logarithmic above; triangles that are linear in
    hertz, of equal areas. As `librosa.filters.mel` does by default, and kapre.
    """
    bins = np.linspace(0.0, spectrum.sample_rate / 2, spectrum.fft_length // 2 + 1)[:, None]
    if spectrum.filters == "librosa":
        lowest, highest = _slaney_mel(np.array([spectrum.minimum_hz, spectrum.maximum_hz]))
        edges = _slaney_hertz(np.linspace(lowest, highest, spectrum.mel_bands + 2))
        weights = _triangles(bins, edges) * (2.0 / (edges[2:] - edges[:-2]))
    else:
        lowest, highest = _htk_mel(np.array([spectrum.minimum_hz, spectrum.maximum_hz]))
        edges = np.linspace(lowest, highest, spectrum.mel_bands + 2)
        if spectrum.filters == "torchaudio":
            weights = _triangles(bins, _htk_hertz(edges))
        else:
            weights = _triangles(_htk_mel(bins), edges)
    weights[0] = 0.0
    return weights / weights.sum(axis=0) if spectrum.filters == "essentia" else weights


def _triangles(bins: Array, edges: Array) -> Array:
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - lower) / (centre - lower), (upper - bins) / (upper - centre)
    weights: Array = np.maximum(np.minimum(rising, falling), 0.0)
    return weights


def _htk_mel(hertz: Array) -> Array:
    mel: Array = 1127.0 * np.log1p(hertz / 700.0)
    return mel


def _htk_hertz(mel: Array) -> Array:
    hertz: Array = 700.0 * np.expm1(mel / 1127.0)
    return hertz


def _slaney_mel(hertz: Array) -> Array:
    """Return 3 mels for every 200 Hz up to 1000 Hz, and 27 for every factor of 6.4 above."""
    above = 15.0 + 27.0 * np.log(np.maximum(hertz, 1000.0) / 1000.0) / np.log(6.4)
    return np.where(hertz < 1000.0, hertz * 3.0 / 200.0, above)


def _slaney_hertz(mel: Array) -> Array:
    return np.where(mel < 15.0, mel * 200.0 / 3.0, 1000.0 * 6.4 ** ((mel - 15.0) / 27.0))


class Mel(nn.Module):
    """Waveforms [batch, samples] → mel magnitudes or powers [batch, frames, mel_bands], float32.

    Frames are not centred: frame i starts at sample i * hop_length. A tail that fills no window is left out.
    """

    fourier: Tensor
    mel: Tensor

    def __init__(self, spectrum: MelSpectrum) -> None:
        super().__init__()
        self.hop_length = spectrum.hop_length
        self.power = spectrum.power
        mel = mel_matrix(spectrum)
        used = np.flatnonzero(mel.any(axis=1))
        sample = np.arange(spectrum.window_length)
        period = spectrum.window_length - spectrum.symmetric
        hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * sample / period)
        angle = 2.0 * np.pi * np.outer(used, sample) / spectrum.fft_length
        fourier = np.concatenate([np.cos(angle) * hann, np.sin(angle) * hann])
        if spectrum.preemphasis:
            fourier = _emphasised(fourier, spectrum.preemphasis)
        # Both follow from the numbers above, so they are no weights and stay out of every checkpoint.
        self.register_buffer("fourier", torch.from_numpy(fourier).float()[:, None], persistent=False)
        self.register_buffer("mel", torch.from_numpy(mel[used].T).float().contiguous(), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return the mel spectrograms of equally long waveforms in [-1, 1]."""
        if waveforms.is_cuda:  # where a convolution may round what it multiplies to 10 bits
            frames = waveforms.unfold(1, self.fourier.shape[-1], self.hop_length)
            transformed = (frames @ self.fourier[:, 0].T).transpose(1, 2)
        else:
            transformed = F.conv1d(waveforms[:, None], self.fourier, stride=self.hop_length)
        cosine, sine = transformed.chunk(2, dim=1)
        powers = cosine * cosine + sine * sine
        spectrum = powers if self.power == 2 else torch.sqrt(powers)
        return (self.mel @ spectrum).transpose(1, 2)


def _emphasised(matrix: Array, share: float) -> Array:
    """Return `matrix` [bins, samples] as it is for frames that lose their mean and are pre-emphasised first.

    What is done to a frame's first sample does not matter, as it lies under the window's zero.
    """
    emphasised = matrix - share * np.pad(matrix[:, 1:], ((0, 0), (0, 1)))
    centred: Array = emphasised - emphasised.mean(axis=1, keepdims=True)
    return centred


class LogMel(nn.Module):
    """Waveforms [batch, samples] → natural-log mel [batch, frames, mel_bands], float32; frames as `Mel`'s."""

    def __init__(self, front_end: FrontEnd) -> None:
        super().__init__()
        self.mel = Mel(front_end)
        self.log_offset = front_end.log_offset

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return the log-mel spectrograms of equally long waveforms in [-1, 1]."""
        return torch.log(self.mel(waveforms) + self.log_offset)


class LogMelPatches(nn.Module):
    """Waveforms [clips, samples] → log-mel patches [clips, patches, patch_frames, mel_bands].

    Args:
        front_end: the log-mel spectrogram.
        overlap: share of a patch that the next one repeats, 0 or 0.5.
    """

    def __init__(self, front_end: FrontEnd, overlap: float) -> None:
        super().__init__()
        self.log_mel = LogMel(front_end)
        self.windows = front_end.windows(overlap)
        self.step_frames = self.windows.hop // front_end.hop_length
        self.steps_per_patch = front_end.patch_frames // self.step_frames

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return the patches of equally long waveforms in [-1, 1]."""
        count = self.windows.count(waveforms.shape[-1])
        log_mel = self.log_mel(self.windows.fill(waveforms))  # [clips, frames, mel_bands]
        return overlapping(log_mel, count, self.step_frames, self.steps_per_patch)
