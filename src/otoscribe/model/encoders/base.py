"""Pretrained audio encoders: waveforms → one embedding every half or whole second.

One file registers one encoder; its `EncoderSpec` says where it and its weights come from.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from torch import Tensor, nn

from otoscribe.errors import UsageError
from otoscribe.model.spectrogram import FrontEnd, LogMelPatches
from otoscribe.registry import Registry


@dataclass(frozen=True)
class EncoderSpec:
    """Where an encoder comes from and what it gives."""

    name: str
    paper: str
    licence: str
    weights_url: str
    """Where the authors publish the weights."""
    weights_sha256: str
    weights_bytes: int
    version: int
    """Raised whenever the same weights and waveform would give other outputs, so that none is reused."""
    front_end: FrontEnd
    outputs: Mapping[str, int]
    """Width of every output, by name."""

    def hop_seconds(self, overlap: float) -> float:
        """Return the time from one embedding to the next, in seconds."""
        hop = self.front_end.patch_frames * self.front_end.hop_length / self.front_end.sample_rate
        return hop * (1.0 - overlap)


class Encoder(nn.Module, ABC):
    """Interface of every encoder: frozen, in evaluation mode, the same for each clip whatever its batch.

    A new encoder has random weights; `load` gives the pretrained one.

    Args:
        overlap: share of the audio under one embedding that the next one hears again, 0 or 0.5.
    """

    spec: ClassVar[EncoderSpec]

    def __init__(self, overlap: float = 0.0) -> None:
        super().__init__()
        if overlap not in (0.0, 0.5):
            raise UsageError(f"An encoder's overlap is 0.0 or 0.5, not {overlap!r}.")
        self.overlap = overlap
        self.patches = LogMelPatches(self.spec.front_end, overlap)

    @classmethod
    @abstractmethod
    def load(cls, path: Path, overlap: float = 0.0) -> Self:
        """Return the encoder with the weights of `path`, frozen.

        Raises:
            WeightsError: the file is missing, damaged, or holds another network.
        """

    @abstractmethod
    def forward(self, waveforms: Tensor) -> dict[str, Tensor]:
        """Encode equally long clips.

        Args:
            waveforms: float32 [batch, samples], mono at `spec.front_end.sample_rate`, in [-1, 1].

        Returns:
            Every output of `spec.outputs`, float32 [batch, frames(samples), width].
        """

    def frames(self, samples: int) -> int:
        """Return how many embeddings a clip of `samples` samples gives, at least 1."""
        return self.patches.count(samples)

    def freeze(self) -> Self:
        """Switch to evaluation mode and keep every gradient from the weights."""
        return self.eval().requires_grad_(False)


ENCODERS: Registry[type[Encoder]] = Registry("encoder")
