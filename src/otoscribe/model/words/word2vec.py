"""word2vec's vectors of 3 million words and phrases, learned on Google News (Mikolov et al., 2013)."""

from typing import Literal

from otoscribe.fetch.published import PublishedFile
from otoscribe.model.vectors.opened import opened
from otoscribe.model.vectors.published import WordsSpec, found_files
from otoscribe.model.vectors.word2vec import read_word2vec
from otoscribe.model.words.base import (
    Beginning,
    Origin,
    PublishedSettings,
    StaticSettings,
    StaticWords,
    vectors_of,
)

_NAME = "word2vec-google-news-300.gz"


class Word2vecSettings(PublishedSettings, StaticSettings):
    """Settings of word2vec's vectors."""

    name: Literal["word2vec"] = "word2vec"


class Word2vecWords(StaticWords):
    """Vectors of the file with the same spelling; it has none of "a", "and", "of" and "to"."""

    Settings = Word2vecSettings
    spec = WordsSpec(
        name="word2vec",
        paper="Mikolov et al. (2013), https://arxiv.org/abs/1310.4546",
        licence="not stated",
        files=(
            (
                PublishedFile(
                    _NAME,
                    (
                        "https://github.com/RaRe-Technologies/gensim-data/releases/download/"
                        f"word2vec-google-news-300/{_NAME}",
                    ),
                    1_743_563_840,
                    "md5:a5e5354d40acb95f9ec66d5977d140ef",
                ),
            ),
        ),
        layouts=(
            ("GoogleNews-vectors-negative300.bin",),
            ("GoogleNews-vectors-negative300.bin.gz",),
            (_NAME,),
        ),
    )

    @classmethod
    def gather(cls, settings: Word2vecSettings, words: tuple[str, ...], origin: Origin) -> Beginning:
        """Read the vectors of the vocabulary's words."""
        (path,) = found_files(cls.spec, origin.folder)
        with opened(path, member="") as stream:
            found = read_word2vec(stream, words)
        return vectors_of(found, words, str(path))
