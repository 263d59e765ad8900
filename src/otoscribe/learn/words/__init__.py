"""Word embeddings: one file per kind. Importing this package registers them all."""

import torch
from torch import Tensor, nn

from otoscribe.registry import Registry
from otoscribe.vocabulary import START


class WordEmbedding(nn.Module):
    """One learned vector per word of the vocabulary; START is the zero vector, the paper's S'_0 = {0}^W'.

    START is zeroed where the vectors are read, not where they are stored, so neither an optimiser
    step, weight decay, nor a loaded checkpoint can give it a value.

    A kind of word embedding is a subclass with its `Settings`, built from them and the vocabulary's words.

    Args:
        vectors: the vectors before training, float32 [vocabulary, width], a row per word.
    """

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.width = vectors.shape[1]
        self.vectors = nn.Parameter(vectors)
        others = torch.ones(len(vectors), 1)
        others[START] = 0.0
        self.others: Tensor
        self.register_buffer("others", others, persistent=False)

    @property
    def weight(self) -> Tensor:
        """The vectors as they are used, [vocabulary, width], row START zero."""
        return self.vectors * self.others

    def forward(self, tokens: Tensor) -> Tensor:
        """Look up int64 token ids [...] and return their vectors [..., width]."""
        return nn.functional.embedding(tokens, self.weight)


WORDS: Registry[type[WordEmbedding]] = Registry("word embedding")

from otoscribe.learn.words import random as random  # noqa: E402  (the kinds need the registry above)
