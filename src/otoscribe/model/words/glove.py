"""GloVe's vectors of 400,000 words, learned on Wikipedia 2014 and Gigaword 5 (Pennington et al., 2014)."""

from typing import Literal

from otoscribe.fetch.published import PublishedFile
from otoscribe.model.vectors.glove import read_glove
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

_TEXT, _ARCHIVE = "glove.6B.300d.txt", "glove.6B.zip"


class GloveSettings(PublishedSettings, StaticSettings):
    """Settings of GloVe's vectors."""

    name: Literal["glove"] = "glove"


class GloveWords(StaticWords):
    """Vectors of the file with the same spelling, read in the archive as it is published, or unpacked."""

    Settings = GloveSettings
    spec = WordsSpec(
        name="glove",
        paper="Pennington, Socher and Manning (2014), https://nlp.stanford.edu/projects/glove",
        licence="PDDL-1.0",
        files=(
            (
                PublishedFile(
                    _ARCHIVE,
                    (
                        f"https://nlp.stanford.edu/data/{_ARCHIVE}",
                        f"https://downloads.cs.stanford.edu/nlp/data/{_ARCHIVE}",
                    ),
                    862_182_613,
                    # The publisher states neither; size and checksum are those that users of the file state.
                    "sha256:617afb2fe6cbd085c235baf7a465b96f4112bd7f7ccb2b2cbd649fed9cbcf2fb",
                ),
            ),
        ),
        layouts=((_TEXT,), (_ARCHIVE,)),
    )

    @classmethod
    def gather(cls, settings: GloveSettings, words: tuple[str, ...], origin: Origin) -> Beginning:
        """Read the vectors of the vocabulary's words."""
        (path,) = found_files(cls.spec, origin.folder)
        with opened(path, member=_TEXT) as stream:
            found = read_glove(stream, words)
        return vectors_of(found, words, str(path))
