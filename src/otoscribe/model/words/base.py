"""Word embeddings: the words so far → one vector for each of them. One file is one kind."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from otoscribe.registry import Registry
from otoscribe.settings import Frozen
from otoscribe.text.vocabulary import START


class WordSettings(Frozen):
    """What the settings of every kind hold."""

    name: str
    """Name of the kind."""


class WordEmbedding(nn.Module, ABC):
    """Interface of every kind; START is the zero vector, the paper's S'_0 = {0}^W'.

    Args:
        settings: of this kind.
        words: the vocabulary's words, specials included.
    """

    Settings: ClassVar[type[WordSettings]]
    """What can be set; every field but `name` has a default."""

    leaky: ClassVar[bool] = False
    """Whether a word's vector depends on words after it, which a captioner cannot know."""

    width: int
    """Numbers per word."""

    @abstractmethod
    def __init__(self, settings: Any, words: tuple[str, ...]) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, history: Tensor) -> Tensor:
        """Embed all words of captions.

        Args:
            history: int64 [..., time], START first.

        Returns:
            float32 [..., time, width]; unless `leaky`, what stands at t depends on ids up to t only.
        """

    @abstractmethod
    def newest(self, history: Tensor) -> Tensor:
        """Return `forward(history)[..., -1, :]`, float32 [..., width], for decoding word by word."""

    @property
    def table(self) -> Tensor | None:
        """The vector of every word, [vocabulary, width], where a word has one; tied outputs need it."""
        return None


class StaticSettings(WordSettings):
    """Settings of every kind that gives each word one vector."""

    tuned: bool = True
    """Whether the vectors are learned with the decoder, or stay as they begin."""


class StaticWords(WordEmbedding, ABC):
    """One vector per word, whatever stands before it.

    START is zeroed where the vectors are read, not where they are stored, so neither an optimiser
    step, weight decay, nor a loaded checkpoint can give it a value.
    """

    def __init__(self, settings: StaticSettings, words: tuple[str, ...]) -> None:
        super().__init__(settings, words)
        vectors = self.initial(settings, words)
        self.width = vectors.shape[1]
        self.vectors = nn.Parameter(vectors, requires_grad=settings.tuned)
        others = torch.ones(len(words), 1)
        others[START] = 0.0
        self.others: Tensor
        self.register_buffer("others", others, persistent=False)

    @abstractmethod
    def initial(self, settings: Any, words: tuple[str, ...]) -> Tensor:
        """Return the vectors before training, float32 [vocabulary, width], a row per word."""

    @property
    def table(self) -> Tensor:
        """The vectors as they are used, [vocabulary, width], row START zero."""
        return self.vectors * self.others

    def forward(self, history: Tensor) -> Tensor:
        """Look up int64 ids [..., time] and return their vectors [..., time, width]."""
        return nn.functional.embedding(history, self.table)

    def newest(self, history: Tensor) -> Tensor:
        """Look up the last of int64 ids [..., time] and return its vector [..., width]."""
        return self(history[..., -1])  # type: ignore[no-any-return]


WORDS: Registry[WordEmbedding] = Registry("word embedding", WordEmbedding, __package__)
