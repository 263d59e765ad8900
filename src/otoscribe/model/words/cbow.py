"""Word embeddings learned from the training captions alone: CBOW (Mikolov et al., 2013), by gensim."""

from typing import Literal

from pydantic import Field

from otoscribe.errors import UsageError
from otoscribe.model.words.base import Beginning, Origin, StaticSettings, StaticWords, vectors_of
from otoscribe.text.vocabulary import SPECIALS, UNKNOWN


class CbowSettings(StaticSettings):
    """Settings of CBOW; what the paper does not state is as gensim has it."""

    name: Literal["cbow"] = "cbow"
    width: int = Field(default=300, gt=0)
    """Numbers per word; the paper's is 300."""
    window: int = Field(default=5, gt=0)
    """Words to each side that a word is predicted from."""
    passes: int = Field(default=5, gt=0)
    """How often the captions are gone through."""
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Decides what is drawn while learning; not the run's seed, so that runs share the vectors."""


class CbowWords(StaticWords):
    """Vectors that predict a word from those around it; by one thread, so the same every time."""

    Settings = CbowSettings

    @classmethod
    def gather(cls, settings: CbowSettings, words: tuple[str, ...], origin: Origin) -> Beginning:
        """Learn from the captions; words outside the vocabulary count as `UNKNOWN`."""
        try:
            from gensim.models import Word2Vec
        except ImportError as error:
            raise UsageError("CBOW needs gensim. Type: pip install 'otoscribe[train]'") from error
        known = set(words)
        captions = [
            [word if word in known else SPECIALS[UNKNOWN] for word in caption] for caption in origin.captions
        ]
        learned = Word2Vec(
            captions,
            vector_size=settings.width,
            window=settings.window,
            epochs=settings.passes,
            seed=settings.seed,
            sg=0,
            min_count=1,
            workers=1,
        ).wv
        found = {word: learned[word] for word in learned.index_to_key}
        return vectors_of(found, words, "The training captions")
