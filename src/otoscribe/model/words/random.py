"""Word embeddings that begin at random."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from otoscribe.model.words.base import StaticSettings, StaticWords


class RandomSettings(StaticSettings):
    """Settings of random word embeddings."""

    name: Literal["random"] = "random"
    width: int = Field(default=300, gt=0)
    """Numbers per word; the paper's is 300."""
    spread: float = Field(default=1.0, gt=0)
    """Standard deviation of the first vectors; tied output layers want about width ** -0.5."""


class RandomWords(StaticWords):
    """Vectors drawn from a normal distribution of mean 0 by torch's generator."""

    Settings = RandomSettings

    def initial(self, settings: RandomSettings, words: tuple[str, ...]) -> Tensor:
        """Return float32 [vocabulary, width]."""
        return torch.randn(len(words), settings.width) * settings.spread
