"""The grid of the paper: 4 encoders, 2 overlaps, 3 adapters and 11 word settings, 264 settings in all."""

import json
from itertools import product
from typing import Any, NamedTuple

from otoscribe.settings import run_id
from otoscribe.train.settings import ExperimentSettings, read_settings


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
    """Return the paper's settings: 264 with run ids of their own."""
    paper = read_settings("paper").model_dump(mode="json")
    cells = map(Cell._make, product(ENCODERS, OVERLAPS, ADAPTERS, WORDS))
    settings = {cell: _varied(paper, cell) for cell in cells}
    assert len(settings) == len({run_id(one) for one in settings.values()}) == 264
    return settings


def _varied(paper: dict[str, Any], cell: Cell) -> ExperimentSettings:
    words = {"name": cell.words.name} | ({} if cell.words.tuned is None else {"tuned": cell.words.tuned})
    parts: dict[str, dict[str, Any]] = {
        "encoder": {"name": cell.encoder, "overlap": cell.overlap},
        "adapter": {"name": cell.adapter},
        "words": words,
    }
    model = dict(paper["model"])
    for part, chosen in parts.items():
        # What the preset says about a variant is kept for that variant only.
        own = model[part] if model[part]["name"] == chosen["name"] else {}
        model[part] = own | chosen
    return ExperimentSettings.model_validate_json(json.dumps(paper | {"model": model}))


def sample() -> list[Cell]:
    """Return every word setting without overlap, then with it; encoders and adapters take turns."""
    return [
        Cell(ENCODERS[(place + 2 * turn) % 4], overlap, ADAPTERS[place % 3], words)
        for turn, overlap in enumerate(OVERLAPS)
        for place, words in enumerate(WORDS)
    ]
