"""Word embeddings: the words so far → one vector for each of them. One file is one kind."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from otoscribe.errors import SettingsError, WeightsError
from otoscribe.model.vectors.published import WordsSpec
from otoscribe.registry import Registry, guarded
from otoscribe.settings import Frozen
from otoscribe.text.vocabulary import SPECIALS, START


class WordSettings(Frozen):
    """What the settings of every kind hold."""

    name: str
    """Name of the kind."""

    @property
    def is_resolved(self) -> bool:
        """Whether nothing outside of data and settings decides what the words begin with."""
        return True


class PublishedSettings(WordSettings):
    """What the settings of every kind hold that begins with published files."""

    width: int | None = Field(default=None, gt=0)
    """Numbers per word; None: as many as the files have, which then becomes part of a run's settings."""
    weights: str | None = Field(default=None, pattern="^sha256:[0-9a-f]{64}$")
    """Hash of what the files hold for the vocabulary. None: of what is found, likewise."""

    @property
    def is_resolved(self) -> bool:
        """Whether the settings name what the files hold."""
        return self.width is not None and self.weights is not None


@dataclass(frozen=True)
class Origin:
    """What words may begin with, apart from chance."""

    captions: Sequence[Sequence[str]] = ()
    """Words of the training captions."""
    folder: Path | None = None
    """Holds published files under their names; None: where `otoscribe get` puts them."""


@dataclass(frozen=True)
class Beginning:
    """What words begin with."""

    values: Mapping[str, Tensor]
    """By name; what they are is up to the kind."""
    width: int
    """Numbers per word."""
    missing: tuple[str, ...]
    """Words of the vocabulary, apart from its specials, that have no vector and begin at random."""

    @property
    def weights(self) -> str:
        """`sha256:` and the hash of names, shapes and values."""
        digest = hashlib.sha256()
        for name, value in sorted(self.values.items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.contiguous().numpy().tobytes())
        return f"sha256:{digest.hexdigest()}"


class WordEmbedding(nn.Module, ABC):
    """Interface of every kind; START is the zero vector, the paper's S'_0 = {0}^W'.

    A new one is random, or empty; `begin` gives it what `load_words` found, if its kind has that.

    Args:
        settings: of this kind.
        words: the vocabulary's words, specials included.
    """

    Settings: ClassVar[type[WordSettings]]
    """What can be set; every field but `name` has a default."""

    spec: ClassVar[WordsSpec | None] = None
    """Where published vectors come from; None: there are none."""

    leaky: bool = False
    """Whether a word's vector depends on words after it, which a captioner cannot know."""

    width: int
    """Numbers per word."""

    @abstractmethod
    def __init__(self, settings: Any, words: tuple[str, ...]) -> None:
        super().__init__()

    @classmethod
    def gather(cls, settings: Any, words: tuple[str, ...], origin: Origin) -> Beginning | None:
        """Read or learn what words of a vocabulary begin with; None: they begin at random.

        Raises:
            WeightsError: published files are not there or damaged.
        """
        return None

    @classmethod
    def needs_files(cls, settings: Any) -> bool:
        """Tell whether a run does not keep what its words began with, but knows it by its hash."""
        return False

    @classmethod
    def is_slow(cls, settings: Any) -> bool:
        """Tell whether `newest` takes so long that training keeps what it gives for its captions' beginnings.

        Such words are fixed, and do not leak.
        """
        return False

    def begin(self, beginning: Beginning) -> None:
        """Take what `gather` returned.

        Raises:
            NotImplementedError: this kind begins at random.
        """
        raise NotImplementedError

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

    def initial(self, settings: Any, words: tuple[str, ...]) -> Tensor:
        """Return the vectors before training, float32 [vocabulary, width], a row per word.

        Those of a kind with a `gather` are standard normal; `begin` then scales the ones that it leaves.
        """
        if settings.width is None:
            raise SettingsError(
                f"The width of {settings.name!r} is that of its files, which were not read. Name it as "
                "words.width, or load the files."
            )
        return torch.randn(len(words), settings.width)

    def begin(self, beginning: Beginning) -> None:
        """Take the vectors that were found.

        The others stay as chance drew them, with the mean and standard deviation of the found numbers.
        """
        values, found = beginning.values["vectors"], beginning.values["found"]
        mean, deviation = values[found].mean(), values[found].std()
        with torch.no_grad():
            self.vectors.copy_(torch.where(found[:, None], values, mean + deviation * self.vectors))

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


def load_words(settings: WordSettings, words: tuple[str, ...], origin: Origin) -> Beginning | None:
    """Return what words of a vocabulary begin with; None: they begin at random.

    Args:
        settings: of the words; if they name a width or weights, only those will do.
        words: the vocabulary's words, specials included.
        origin: training captions and published files.

    Raises:
        WeightsError: the files are not there, damaged, or others than the settings name.
        UsageError: there is no such kind.
    """
    kind = WORDS[settings.name]
    beginning = guarded("word embedding", settings.name, lambda: kind.gather(settings, words, origin))
    if beginning is None or not isinstance(settings, PublishedSettings):
        return beginning
    for what, named, found in (
        ("width", settings.width, beginning.width),
        ("weights", settings.weights, beginning.weights),
    ):
        if named not in (None, found):
            raise WeightsError(
                f"The vectors found for {settings.name} are not those that the settings name: their {what} "
                f"is {found}, not {named}. Name the folder of the right ones (--words FOLDER)."
            )
    return beginning


def resolved(settings: WordSettings, beginning: Beginning | None) -> WordSettings:
    """Return settings that name what the words begin with, where files decide it."""
    if beginning is None or not isinstance(settings, PublishedSettings):
        return settings
    return settings.model_copy(update={"width": beginning.width, "weights": beginning.weights})


def vectors_of(found: Mapping[str, NDArray[np.float32]], words: tuple[str, ...], source: str) -> Beginning:
    """Lay vectors side by side in the order of a vocabulary.

    Args:
        found: vectors by word, float32 [width] each; a special's may be among them.
        words: the vocabulary's words, specials included.
        source: where they come from, for the error.

    Raises:
        WeightsError: there is no vector of any word, or one holds something else than numbers.
    """
    widths = {len(vector) for vector in found.values()}
    if len(widths) != 1 or not all(np.isfinite(vector).all() for vector in found.values()):
        problem = "has no vector of any word of the captions" if not found else "holds vectors of no numbers"
        raise WeightsError(f"{source} {problem}. Take another file.")
    (width,) = widths
    values = np.zeros((len(words), width), np.float32)
    for row, word in enumerate(words):
        if word in found:
            values[row] = found[word]
    is_found = torch.tensor([word in found for word in words])
    missing = tuple(word for word in words[len(SPECIALS) :] if word not in found)
    return Beginning({"vectors": torch.from_numpy(values), "found": is_found}, width, missing)
