"""The grid of the paper: 4 encoders, 2 overlaps, 3 adapters and 11 word settings, 264 settings in all."""

from itertools import product
from typing import NamedTuple

from otoscribe.study.engine.grid import settings_of
from otoscribe.study.engine.settings import read_study
from otoscribe.train.settings import ExperimentSettings


class Words(NamedTuple):
    """A word setting of the paper."""

    name: str
    tuned: bool | None
    """Whether the vectors are learned with the decoder; None: they cannot be."""

    def __str__(self) -> str:
        return f"{self.name}, {'tuned' if self.tuned else 'fixed'}"


# The one with the most weights comes last: of a sample that goes through them, it gets the fewest.
ENCODERS = ("yamnet", "openl3", "coala", "vggish")
OVERLAPS = (0.0, 0.5)
ADAPTERS = ("identity", "mlp", "attention")
VECTOR_PER_WORD = ("random", "cbow", "word2vec", "glove", "fasttext")
WORDS = (*(Words(*chosen) for chosen in product(VECTOR_PER_WORD, (False, True))), Words("bert", None))


class Cell(NamedTuple):
    """A place in the grid."""

    encoder: str
    overlap: float
    adapter: str
    words: Words

    def __str__(self) -> str:
        return f"{self.encoder}, overlap {self.overlap:.0%}, {self.adapter}, {self.words}"


def grid() -> dict[Cell, ExperimentSettings]:
    """Return the settings of the study `paper`."""
    return {_cell(setting.labels): setting.experiment for setting in settings_of(read_study("paper"))}


def _cell(labels: tuple[str, ...]) -> Cell:
    encoder, overlap, adapter, name, tuned = labels
    words = Words(name, tuned == "true" if name in VECTOR_PER_WORD else None)
    return Cell(encoder, float(overlap), adapter, words)


def sample() -> list[Cell]:
    """Return every word setting without overlap, then with it; encoders and adapters take turns."""
    return [
        Cell(ENCODERS[(place + 2 * turn) % 4], overlap, ADAPTERS[place % 3], words)
        for turn, overlap in enumerate(OVERLAPS)
        for place, words in enumerate(WORDS)
    ]
