"""fastText's vectors of 2 million words and their pieces, learned on Common Crawl (Mikolov et al., 2018)."""

from typing import Literal

from otoscribe.fetch.published import PublishedFile
from otoscribe.model.vectors.fasttext import read_fasttext
from otoscribe.model.vectors.opened import opened
from otoscribe.model.vectors.published import WordsSpec, found_files
from otoscribe.model.words.base import (
    Beginning,
    Origin,
    PublishedSettings,
    StaticSettings,
    StaticWords,
    vectors_of,
)

_MODEL, _ARCHIVE = "crawl-300d-2M-subword.bin", "crawl-300d-2M-subword.zip"


class FasttextSettings(PublishedSettings, StaticSettings):
    """Settings of fastText's vectors."""

    name: Literal["fasttext"] = "fasttext"


class FasttextWords(StaticWords):
    """Vectors of words with that of their pieces; words that are not listed are the mean of their pieces."""

    Settings = FasttextSettings
    spec = WordsSpec(
        name="fasttext",
        paper="Mikolov et al. (2018), https://arxiv.org/abs/1712.09405",
        licence="CC-BY-SA-3.0",
        files=(
            (
                PublishedFile(
                    _ARCHIVE,
                    (f"https://dl.fbaipublicfiles.com/fasttext/vectors-english/{_ARCHIVE}",),
                    None,
                    None,  # nobody states one; the archive holds a CRC-32 of its members
                ),
            ),
        ),
        layouts=((_MODEL,), (_ARCHIVE,)),
    )

    @classmethod
    def gather(cls, settings: FasttextSettings, words: tuple[str, ...], origin: Origin) -> Beginning:
        """Read the vectors of the vocabulary's words."""
        (path,) = found_files(cls.spec, origin.folder)
        with opened(path, member=_MODEL) as stream:
            found = read_fasttext(stream, words)
        return vectors_of(found, words, str(path))
