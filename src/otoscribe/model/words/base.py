"""Word embeddings: one file per kind."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from otoscribe import settings
from otoscribe.registry import Registry
from otoscribe.text.vocabulary import START


class WordEmbedding(nn.Module, ABC):
    """Interface of every kind: one vector per word; START is the zero vector, the paper's S'_0 = {0}^W'.

    START is zeroed where the vectors are read, not where they are stored, so neither an optimiser
    step, weight decay, nor a loaded checkpoint can give it a value.

    Args:
        settings: of this kind.
        words: the vocabulary's words, specials included.
    """

    Settings: ClassVar[type[settings.Settings]]
    """What can be set; `name` is the kind's registered name, and every other field has a default."""

    def __init__(self, settings: settings.Settings, words: tuple[str, ...]) -> None:
        super().__init__()
        vectors = self.initial(settings, words)
        self.width = vectors.shape[1]
        self.vectors = nn.Parameter(vectors)
        others = torch.ones(len(words), 1)
        others[START] = 0.0
        self.others: Tensor
        self.register_buffer("others", others, persistent=False)

    @abstractmethod
    def initial(self, settings: Any, words: tuple[str, ...]) -> Tensor:
        """Return the vectors before training, float32 [vocabulary, width], a row per word."""

    @property
    def weight(self) -> Tensor:
        """The vectors as they are used, [vocabulary, width], row START zero."""
        return self.vectors * self.others

    def forward(self, tokens: Tensor) -> Tensor:
        """Look up int64 token ids [...] and return their vectors [..., width]."""
        return nn.functional.embedding(tokens, self.weight)


WORDS: Registry[type[WordEmbedding]] = Registry("word embedding")
