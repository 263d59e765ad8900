"""Log-mel front ends: waveform → log-mel spectrogram → the patches that an encoder's network reads.

The short-time Fourier transform is one strided convolution with windowed cosines and sines. It frames
explicitly, skips the bins that no mel band reads, is as exact as an FFT in float32, and exports to ONNX as it
stands, so training and listening run the same front end.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from otoscribe.model.windows import Windows


@dataclass(frozen=True)
class FrontEnd:
    """Every number that decides a log-mel spectrogram; part of the key under which embeddings are stored."""

    sample_rate: int
    """Samples per second of the waveform."""
    window_length: int
    """Samples under the periodic Hann window."""
    hop_length: int
    """Samples from one frame to the next."""
    fft_length: int
    """Points of the Fourier transform; a frame fills the first `window_length` of them."""
    mel_bands: int
    minimum_hz: float
    """Lower edge of the first band."""
    maximum_hz: float
    """Upper edge of the last band."""
    log_offset: float
    """Added to the mel magnitude before the natural logarithm."""
    patch_frames: int
    """Frames in one patch, which gives one embedding."""

    def __post_init__(self) -> None:
        if self.window_length > self.fft_length:
            raise ValueError("A window is longer than the Fourier transform that takes it.")

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
        return Windows(patch_samples, int(hop_frames) * self.hop_length)


def mel_matrix(front_end: FrontEnd) -> NDArray[np.float64]:
    """Return the weight of every frequency bin in every mel band, [fft_length // 2 + 1, mel_bands].

    HTK mel scale, 1127 ln(1 + f / 700); triangles that are linear in mel and reach 1 at their centre, without
    area normalisation; the bin at 0 Hz belongs to no band. As TensorFlow's `linear_to_mel_weight_matrix`.
    """

    def mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
        scale: NDArray[np.float64] = 1127.0 * np.log1p(hertz / 700.0)
        return scale

    lowest, highest = mel(np.array([front_end.minimum_hz, front_end.maximum_hz]))
    edges = np.linspace(lowest, highest, front_end.mel_bands + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    bins = mel(np.linspace(0.0, front_end.sample_rate / 2, front_end.fft_length // 2 + 1))[:, None]
    triangles = np.minimum((bins - lower) / (centre - lower), (upper - bins) / (upper - centre))
    weights: NDArray[np.float64] = np.maximum(triangles, 0.0)
    weights[0] = 0.0
    return weights


class LogMel(nn.Module):
    """Waveforms [batch, samples] → natural-log mel magnitudes [batch, frames, mel_bands], float32.

    Frames are not centred: frame i starts at sample i * hop_length. A tail that fills no window is left out.
    """

    fourier: Tensor
    mel: Tensor

    def __init__(self, front_end: FrontEnd) -> None:
        super().__init__()
        self.hop_length = front_end.hop_length
        self.log_offset = front_end.log_offset
        mel = mel_matrix(front_end)
        used = np.flatnonzero(mel.any(axis=1))
        sample = np.arange(front_end.window_length)
        hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * sample / front_end.window_length)
        angle = 2.0 * np.pi * np.outer(used, sample) / front_end.fft_length
        fourier = np.concatenate([np.cos(angle) * hann, np.sin(angle) * hann])
        # Both follow from the numbers above, so they are no weights and stay out of every checkpoint.
        self.register_buffer("fourier", torch.from_numpy(fourier).float()[:, None], persistent=False)
        self.register_buffer("mel", torch.from_numpy(mel[used].T).float().contiguous(), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return the log-mel spectrograms of equally long waveforms in [-1, 1]."""
        cosine, sine = F.conv1d(waveforms[:, None], self.fourier, stride=self.hop_length).chunk(2, dim=1)
        magnitudes = torch.sqrt(cosine * cosine + sine * sine)
        return torch.log((self.mel @ magnitudes).transpose(1, 2) + self.log_offset)


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
        # A patch is `steps_per_patch` consecutive steps, and neighbours share steps.
        steps = log_mel.reshape(waveforms.shape[0], -1, self.step_frames, log_mel.shape[-1])
        return torch.cat([steps[:, i : i + count] for i in range(self.steps_per_patch)], dim=2)
