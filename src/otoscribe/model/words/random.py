"""Word embeddings that begin at random and are learned with the decoder."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from otoscribe import settings
from otoscribe.model.words.base import WORDS, WordEmbedding


@WORDS.register("random")
class RandomWords(WordEmbedding):
    """Vectors drawn from a normal distribution of mean 0 by torch's generator."""

    class Settings(settings.Settings):
        """Settings of random word embeddings."""

        name: Literal["random"] = "random"
        width: int = Field(default=300, gt=0)
        """Numbers per word; the paper's is 300."""
        spread: float = Field(default=1.0, gt=0)
        """Standard deviation of the first vectors; tied output layers want about width ** -0.5."""

    def initial(self, settings: Settings, words: tuple[str, ...]) -> Tensor:
        """Return float32 [vocabulary, width]."""
        return torch.randn(len(words), settings.width) * settings.spread
