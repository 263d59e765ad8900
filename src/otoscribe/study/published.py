"""What Weck et al. (2021) report, and what they compare: https://arxiv.org/abs/2110.07410.

Their figures are SPIDEr on the evaluation split of Clotho. Nothing else is comparable with them.
"""

import math
from dataclasses import dataclass

from otoscribe.study.scores import ScoreTable
from otoscribe.study.statistics import Comparison, PairedTest

SOURCE = "Weck et al. (2021)"
METRIC = "spider"
SPLITS = ("clotho:evaluation", "clotho_v1:evaluation")
"""What was captioned: the same recordings in both versions of Clotho."""
RECORDINGS = 1045
"""Of that split."""
BEST_RUN = 0.1914
"""Of all their runs."""

_OFF = {"false", "no", "none", "off", "fixed", "without"}
_ON = {"true", "yes", "on", "tuned", "with"}


@dataclass(frozen=True)
class Best:
    """The best setting of an encoder: Table 2."""

    encoder: str
    overlap: bool
    mean: float
    sd: float

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.sd:.4f} {'†' if self.overlap else '*'}"


TABLE_2 = {
    best.encoder.lower(): best
    for best in (
        Best("COALA", True, 0.1495, 0.0044),
        Best("OpenL3", False, 0.1620, 0.0051),
        Best("VGGish", False, 0.1677, 0.0052),
        Best("YAMNet", True, 0.1793, 0.0066),
    )
}
"""All of them with BERT and the adapter of multi-head attention."""

VALUES = {
    "encoder": {*TABLE_2},
    "overlap": {"none", "50\u00a0%"},
    "adapter": {"identity", "mlp", "attention"},
    "words": {"random", "cbow", "word2vec", "glove", "fasttext", "bert"},
    "tuned": {"fixed", "tuned"},
}
"""Of each axis of their grid, as `shown`."""


@dataclass(frozen=True)
class Tested:
    """What the paper says of a test."""

    statistic: int
    p_below: float


OVERLAP_TESTS = {"coala": Tested(84, 8.08e-7), "yamnet": Tested(112, 3.92e-6)}
"""Of "overlap > none", by encoder. Both p follow from W with 44 pairs (normal approximation) and with no
other number, although 264 settings give 33 pairs for each encoder; what was paired is not stated."""


def sign(overlap: str) -> str:
    """Return the sign that the paper's Table 2 has for windows that overlap, or do not; or none."""
    on = is_on(overlap)
    return "" if on is None else "†" if on else "*"


def is_on(value: str) -> bool | None:
    """Tell whether a value of the axis `overlap` or `tuned` means yes; `None` if it cannot be told."""
    word = value.lower().removesuffix("%").strip()
    if word in _OFF or word in _ON:
        return word in _ON
    try:
        part = float(word)
    except ValueError:
        return None
    return part > 0 if 0 <= part < math.inf else None


def shown(axis: str, value: str) -> str:
    """Return the paper's word for a value of `overlap` and `tuned`; any other as it is."""
    on = is_on(value)
    if axis == "tuned" and on is not None:
        return "tuned" if on else "fixed"
    if axis == "overlap" and on is not None:
        return _percent(value) if on else "none"
    return value


def _percent(overlap: str) -> str:
    word = overlap.removesuffix("%")
    try:
        part = float(word)
    except ValueError:  # "yes"
        return overlap
    return f"{part if part > 1 or word != overlap else 100 * part:g}\u00a0%"


def comparisons(table: ScoreTable) -> list[Comparison]:
    """Return the claims that the paper tests, as far as the table has their axes.

    One value of them has to mean yes and one no. Others are no matter: of BERT, which is never tuned, a table
    may say "n/a".
    """
    found = []
    for axis, within in (("tuned", "words"), ("overlap", "encoder")):
        if {axis, within} <= set(table.axes):
            values = table.values_of(axis)
            on, off = ([value for value in values if is_on(value) is side] for side in (True, False))
            if len(on) == len(off) == 1:
                found.append(Comparison(axis, on[0], off[0], within))
    return found


FIGURES = {
    ("encoder", "adapter"): "Figure 3",
    ("words", "tuned"): "Figure 4",
    ("encoder", "overlap"): "Figure 4",
}
"""Which axes the paper's figures set against each other."""


def is_comparable(table: ScoreTable, on_clotho: bool | None) -> bool:
    """Tell whether scores may stand beside the paper's.

    Args:
        table: of scores.
        on_clotho: whether they are of Clotho's evaluation split; None: not known. Then they have to be of the
            paper's axes, and of no value but its.
    """
    if table.metric.lower() != METRIC:
        return False
    if on_clotho is not None:
        return on_clotho
    return set(table.axes) == set(VALUES) and all(
        shown(axis, value).lower() in values
        for axis, values in VALUES.items()
        for value in table.values_of(axis)
    )


def published_best(encoder: str) -> Best | None:
    """Return the paper's figure for an encoder."""
    return TABLE_2.get(encoder.lower())


def published_test(test: PairedTest) -> Tested | None:
    """Return the paper's result of the same test."""
    claim = test.comparison
    same = (claim.axis, claim.within, is_on(claim.higher)) == ("overlap", "encoder", True)
    return OVERLAP_TESTS.get((test.value or "").lower()) if same else None
