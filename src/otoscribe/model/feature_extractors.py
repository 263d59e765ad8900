"""Feature extractors of Hugging Face's transformers, in PyTorch: windows of a clip → what a network reads.

Theirs is NumPy code, which no exported graph can hold. The ones written here give the same numbers up to the
rounding of float32, on any device. Windows that are longer than a network reads, of which some of theirs take
random parts, are refused.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from otoscribe.errors import UsageError
from otoscribe.model.spectrogram import Mel, MelSpectrum

AST_WINDOW, AST_HOP = 400, 160
"""Samples under a window and from one frame to the next, which ASTFeatureExtractor fixes for every rate."""


class FeatureExtractor(nn.Module):
    """Windows [batch, samples] → what the network reads."""

    filled = 1.0
    """Share of the network's places that a window fills."""


class OwnExtractor(FeatureExtractor):
    """Whatever the model's own feature extractor does; in NumPy, so that no graph can hold it."""

    def __init__(self, extractor: Any, model: str) -> None:
        super().__init__()
        self.extractor, self.model = extractor, model

    def forward(self, windows: Tensor) -> Tensor:
        """Return the extractor's features, on the windows' device."""
        if torch.compiler.is_compiling():
            raise UsageError(
                f"The feature extractor of {self.model} ({type(self.extractor).__name__}) cannot become part "
                f"of an exported model. A run with it can be evaluated."
            )
        rows = list(windows.detach().cpu().numpy())
        features = self.extractor(rows, sampling_rate=self.extractor.sampling_rate, return_tensors="pt")
        found: Tensor = features[self.extractor.model_input_names[0]]
        return found.to(windows)


class Samples(FeatureExtractor):
    """The samples themselves, of zero mean and unit variance if the extractor says so (wav2vec 2.0)."""

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        self.normalise = bool(extractor.do_normalize)

    def forward(self, windows: Tensor) -> Tensor:
        """Return the samples, [batch, samples]."""
        if not self.normalise:
            return windows
        centred = windows - windows.mean(dim=1, keepdim=True)
        return centred / torch.sqrt(centred.square().mean(dim=1, keepdim=True) + 1e-7)


class WhisperMel(FeatureExtractor):
    """Whisper's log-mel spectrogram of a window, filled up with zeros to 30 s."""

    def __init__(self, extractor: Any, seconds: float) -> None:
        super().__init__()
        self.samples = int(extractor.n_samples)
        self.margin = int(extractor.n_fft) // 2
        self.filled = seconds / float(extractor.chunk_length)
        self.mel = Mel(
            MelSpectrum(
                sample_rate=int(extractor.sampling_rate),
                window_length=int(extractor.n_fft),
                hop_length=int(extractor.hop_length),
                fft_length=int(extractor.n_fft),
                mel_bands=int(extractor.feature_size),
                minimum_hz=0.0,
                maximum_hz=8000.0,
                filters="librosa",
                power=2,
            )
        )

    def forward(self, windows: Tensor) -> Tensor:
        """Return the spectrograms, [batch, bands, frames]."""
        filled = F.pad(windows, (0, self.samples - windows.shape[1]))
        mel = self.mel(_mirrored(filled, self.margin))[:, :-1].transpose(1, 2)  # Whisper drops the last frame
        logarithm = torch.log10(mel.clamp_min(1e-10))
        largest = logarithm.amax(dim=(1, 2), keepdim=True)
        return (torch.maximum(logarithm, largest - 8.0) + 4.0) / 4.0


class AstMel(FeatureExtractor):
    """The Audio Spectrogram Transformer's log-mel spectrogram, Kaldi's, filled up with zeros to 10.24 s."""

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        self.frames = int(extractor.max_length)
        self.mean, self.spread = 0.0, 1.0
        if extractor.do_normalize:
            self.mean, self.spread = float(extractor.mean), 2.0 * float(extractor.std)
        self.mel = Mel(
            MelSpectrum(
                sample_rate=int(extractor.sampling_rate),
                window_length=AST_WINDOW,
                hop_length=AST_HOP,
                fft_length=512,
                mel_bands=int(extractor.num_mel_bins),
                minimum_hz=20.0,
                maximum_hz=float(extractor.sampling_rate // 2),
                filters="tensorflow",  # which are Kaldi's
                power=2,
                symmetric=True,
                preemphasis=0.97,
            )
        )

    def forward(self, windows: Tensor) -> Tensor:
        """Return the spectrograms, [batch, frames, bands]."""
        # Each frame loses its mean anyway. Without the window's there is less to round off.
        mel = self.mel(windows - windows.mean(dim=1, keepdim=True))
        logarithm = torch.log(mel.clamp_min(torch.finfo(torch.float32).eps))
        filled = F.pad(logarithm, (0, 0, 0, self.frames - logarithm.shape[1]))
        return (filled - self.mean) / self.spread


class ClapMel(FeatureExtractor):
    """CLAP's mel spectrogram, in decibels, of a window that is repeated as often as it fits into 10 s.

    For networks with fusion the extractor returns it four times. They read the first, and the others only
    where a clip is longer (`is_longer`), so one is enough.
    """

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        self.samples = int(extractor.nb_max_samples)
        self.padding = str(extractor.padding)
        self.margin = int(extractor.fft_window_size) // 2
        self.mel = Mel(
            MelSpectrum(
                sample_rate=int(extractor.sampling_rate),
                window_length=int(extractor.fft_window_size),
                hop_length=int(extractor.hop_length),
                fft_length=int(extractor.fft_window_size),
                mel_bands=int(extractor.feature_size),
                minimum_hz=float(extractor.frequency_min),
                maximum_hz=float(extractor.frequency_max),
                filters="torchaudio" if extractor.truncation == "fusion" else "librosa",
                power=2,
            )
        )

    def forward(self, windows: Tensor) -> Tensor:
        """Return the spectrograms, [batch, 1, frames, bands]."""
        whole = self.samples // windows.shape[1]
        times = {"repeatpad": whole, "repeat": whole + 1}.get(self.padding, 1)
        repeated = windows.repeat(1, times)
        filled = F.pad(repeated, (0, self.samples - repeated.shape[1]))  # or cut
        mel = self.mel(_mirrored(filled, self.margin))
        return 10.0 * torch.log10(mel.clamp_min(1e-10))[:, None]


def in_torch(extractor: Any, model: str, seconds: float) -> FeatureExtractor:
    """Return what does the same as an extractor, in PyTorch where that is written here.

    Args:
        extractor: one of transformers'.
        model: whose it is.
        seconds: length of the windows that it will get.

    Raises:
        UsageError: the windows are shorter than the extractor's frames, or longer than the model hears.
    """
    kind = type(extractor).__name__
    shortest, longest = 0.0, float("inf")
    if kind == "WhisperFeatureExtractor":
        longest = extractor.chunk_length
    elif kind == "ClapFeatureExtractor":
        longest = extractor.max_length_s
    elif kind == "ASTFeatureExtractor":
        shortest = AST_WINDOW / extractor.sampling_rate
        longest = extractor.max_length * AST_HOP / extractor.sampling_rate
    if seconds > longest:
        raise UsageError(f"{model} hears {longest:g} s at most. Set seconds to that or less.")
    if seconds < shortest:
        raise UsageError(f"{model} hears {shortest:g} s at least. Set seconds to that or more.")
    if kind == "Wav2Vec2FeatureExtractor":
        return Samples(extractor)
    if kind == "WhisperFeatureExtractor" and not extractor.dither:
        return WhisperMel(extractor, seconds)
    if kind == "ASTFeatureExtractor":
        return AstMel(extractor)
    if kind == "ClapFeatureExtractor":
        return ClapMel(extractor)
    return OwnExtractor(extractor, model)


def _mirrored(waveforms: Tensor, margin: int) -> Tensor:
    """Return waveforms [batch, samples] with their first and last samples mirrored before and after them."""
    return F.pad(waveforms[:, None], (margin, margin), mode="reflect")[:, 0]
