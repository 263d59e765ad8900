"""What the scores of a study say: means with intervals, and paired one-sided tests.

Everything rests on the means of settings, as in Weck et al. (2021): runs of one setting differ by their seed
alone, so they are repetitions and no independent evidence for one setting over another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otoscribe.errors import UsageError, unknown_name
from otoscribe.study.scores import ScoreTable, Setting

COVERAGE = 0.95
"""Of the intervals of means."""
ALPHA = 0.05
"""Level of the tests."""


@dataclass(frozen=True)
class Summary:
    """The scores of one setting over its seeds."""

    setting: Setting
    mean: float
    n: int
    """Runs."""
    sd: float | None
    """Standard deviation of the runs, with n - 1 below; `None` for one run."""
    interval: tuple[float, float] | None
    """Which covers the mean over all seeds with 95 % if runs are normal (Student's t); `None` for one run."""
    made_up: int
    """How many of the runs used made-up weights."""


def summaries(table: ScoreTable) -> list[Summary]:
    """Return every setting, that of the highest mean first."""
    from scipy import stats

    found = []
    for setting, scores in table.by_setting.items():
        values = np.array([score.value for score in scores])
        n, mean = len(values), float(values.mean())
        sd, interval = None, None
        if n > 1:
            sd = float(values.std(ddof=1))
            half = float(stats.t.ppf((1 + COVERAGE) / 2, n - 1)) * sd / n**0.5
            interval = (mean - half, mean + half)
        found.append(Summary(setting, mean, n, sd, interval, sum(score.made_up for score in scores)))
    return sorted(found, key=lambda one: -one.mean)


def best_by(axis: str, table: ScoreTable) -> list[Summary]:
    """Return the setting of the highest mean for each value of an axis, the best of them first."""
    at = table.axes.index(axis)
    best: dict[str, Summary] = {}
    for one in summaries(table):
        best.setdefault(one.setting[at], one)
    return list(best.values())


@dataclass(frozen=True)
class Comparison:
    """The claim that settings score higher with one value of an axis than with another, all else equal."""

    axis: str
    higher: str
    """The value that is claimed to be better."""
    lower: str
    within: str | None = None
    """Another axis, for each value of which the claim is tested alone; `None` tests it once, over
    everything."""


@dataclass(frozen=True)
class PairedTest:
    """A one-sided Wilcoxon signed-rank test of a claim on pairs of setting means (Wilcoxon 1945)."""

    comparison: Comparison
    value: str | None
    """Of the axis `within`."""
    pairs: int
    """Pairs of settings that differ in the compared axis only."""
    unpaired: int
    """Settings with one of the two values that have no partner among the scores, and are left out."""
    n: int
    """Pairs whose means differ: the others say nothing of a direction, and Wilcoxon leaves them out."""
    difference: float | None
    """Mean over the pairs of higher minus lower; `None` without pairs."""
    statistic: float | None
    """Sum of the ranks of the pairs that contradict the claim; 0 if none does; `None` if n is 0."""
    p: float | None
    effect: float | None
    """Rank-biserial correlation (Kerby 2014): ranks for the claim minus ranks against it, by all ranks; 1 if
    every pair agrees with the claim, -1 if every pair contradicts it."""
    holm: float | None
    """p, corrected for all tests made together (Holm 1979)."""
    made_up: bool
    """Whether any run behind it used made-up weights."""

    @property
    def smallest_p(self) -> float:
        """Return the lowest p that so few pairs can give."""
        return 0.5**self.n


def paired_tests(table: ScoreTable, comparisons: Sequence[Comparison]) -> list[PairedTest]:
    """Test each claim within each value of its axis `within`, and correct all of them together.

    Raises:
        UsageError: a comparison names an axis or a value that the table lacks, or the same axis or value
        twice.
    """
    made = [
        _tested(table, comparison, value)
        for comparison in comparisons
        for value in _values_within(table, comparison)
    ]
    # A claim about a value that no pair stands for is none: BERT is never tuned, for instance.
    made = [test for test in made if test["pairs"]]
    corrected = iter(holm([test["p"] for test in made if test["p"] is not None]))
    return [PairedTest(**test, holm=None if test["p"] is None else next(corrected)) for test in made]


def _values_within(table: ScoreTable, comparison: Comparison) -> Sequence[str | None]:
    for axis in {comparison.axis, comparison.within or comparison.axis}:
        if axis not in table.axes:
            raise unknown_name("axis", axis, table.axes)
    for value in (comparison.higher, comparison.lower):
        if value not in table.values_of(comparison.axis):
            raise unknown_name(
                f"value of the axis {comparison.axis}", value, table.values_of(comparison.axis)
            )
    if comparison.higher == comparison.lower:
        raise UsageError(f"{comparison.axis} {comparison.higher} cannot be compared with itself.")
    if comparison.within == comparison.axis:
        raise UsageError(f"{comparison.axis} cannot be compared within itself; name another axis.")
    return table.values_of(comparison.within) if comparison.within else [None]


def _tested(table: ScoreTable, comparison: Comparison, value: str | None) -> dict[str, Any]:
    """Return the fields of a test, without what depends on the other tests."""
    at = table.axes.index(comparison.axis)
    sides: dict[str, dict[Setting, float]] = {comparison.higher: {}, comparison.lower: {}}
    marked: set[tuple[str, Setting]] = set()
    for setting, scores in table.by_setting.items():
        if value is not None and setting[table.axes.index(str(comparison.within))] != value:
            continue
        if setting[at] in sides:
            others = setting[:at] + setting[at + 1 :]
            sides[setting[at]][others] = float(np.mean([score.value for score in scores]))
            if any(score.made_up for score in scores):
                marked.add((setting[at], others))
    high, low = sides.values()
    paired = [others for others in high if others in low]
    return {
        "comparison": comparison,
        "value": value,
        "pairs": len(paired),
        "unpaired": len(high) + len(low) - 2 * len(paired),
        "made_up": any((side, others) in marked for side in sides for others in paired),
        **signed_rank([high[others] for others in paired], [low[others] for others in paired]),
    }


def signed_rank(high: Sequence[float], low: Sequence[float]) -> dict[str, Any]:
    """Test that `high` is above `low`, pair by pair; returns n, difference, statistic, p and effect."""
    from scipy import stats

    differences = np.array(high, float) - np.array(low, float)
    if not len(differences):
        return dict.fromkeys(("difference", "statistic", "p", "effect")) | {"n": 0}
    # Means of the same numbers differ in the last bits by the order of addition: that is no difference, and
    # what is equally far apart has equal ranks.
    scale = np.abs([*high, *low]).max() or 1.0
    differences = np.round(differences / scale, 12)
    mean = float(differences.mean() * scale)
    differences = differences[differences != 0]
    n = len(differences)
    if not n:
        return dict.fromkeys(("statistic", "p", "effect")) | {"n": 0, "difference": mean}
    against = float(stats.rankdata(np.abs(differences))[differences < 0].sum())
    return {
        "n": n,
        "difference": mean,
        "statistic": against,
        "p": float(stats.wilcoxon(differences, alternative="greater").pvalue),
        "effect": 1 - 2 * against / (n * (n + 1) / 2),
    }


def holm(p: Sequence[float]) -> list[float]:
    """Correct p-values of tests made together, so that the chance of any false one stays below the level.

    Holm's step-down method (1979): the k-th smallest of m is multiplied by m - k + 1; a corrected value is at
    least that of every smaller p, and 1 at most.
    """
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    corrected: NDArray[np.float64] = np.empty(len(p))
    corrected[order] = np.minimum(1, np.maximum.accumulate(np.array(p, float)[order] * factors))
    return [float(value) for value in corrected]
