"""The scores of a study: one row for each run, read from a CSV and written to one.

    encoder,overlap,adapter,words,tuned,seed,spider
    yamnet,0.5,attention,bert,false,1,0.1786

The columns before `seed` are the axes of the study, those behind it metrics.
"""

import csv
import io
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from otoscribe.errors import TableError

Setting = tuple[str, ...]
"""A value for each axis, as text, in the order of the axes."""

SEED = "seed"
MADE_UP = "made_up"
LARGEST = 1e100
"""Of a score: squares of it have to be finite as well."""
_YES_OR_NO = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False, "": False}


@dataclass(frozen=True)
class Score:
    """What one run scored."""

    setting: Setting
    seed: int
    value: float
    """Of the study's metric, of which more is better; within ±`LARGEST`."""
    made_up: bool = False
    """Whether the run used weights made by a formula, as tests do, and not weights that learned anything."""


@dataclass(frozen=True)
class ScoreTable:
    """All scores of a study.

    Raises:
        TableError: there is no score or no axis, axes have the same name or none, a setting has not one value
            for each axis, a value is out of its range, or a setting has the same seed twice.
    """

    axes: tuple[str, ...]
    metric: str
    scores: tuple[Score, ...]

    def __post_init__(self) -> None:
        if MADE_UP in self.axes:
            raise TableError(f"{MADE_UP!r} is no axis; move that column behind {SEED!r}.")
        names = (*self.axes, SEED, MADE_UP, self.metric)
        doubled = [name for name, times in Counter(names).items() if times > 1]
        if doubled:
            raise TableError(f"Two columns of the scores are named {doubled[0]!r}; rename one of them.")
        if not all(names):
            raise TableError("A column of the scores has no name; give it one.")
        if not self.axes:
            raise TableError(f"The scores have no axis: name one or more in columns before {SEED!r}.")
        if not self.scores:
            raise TableError("There are no scores: a study's report needs those of one run or more.")
        for score in self.scores:
            if len(score.setting) != len(self.axes):
                raise TableError(f"A setting of {len(self.axes)} axes is not {', '.join(score.setting)!r}.")
            if not abs(score.value) <= LARGEST:
                raise TableError(
                    f"{self.described(score)} scored {score.value}; a score is a number within ±{LARGEST:g}."
                )
        doubles = Counter((score.setting, score.seed) for score in self.scores)
        for score in self.scores:
            if doubles[score.setting, score.seed] > 1:
                raise TableError(f"{self.described(score)} is there twice; keep one of its scores.")

    def described(self, score: Score) -> str:
        """Name a run for people."""
        return f"{setting_text(self.axes, score.setting)}, {SEED} {score.seed}"

    @cached_property
    def by_setting(self) -> dict[Setting, list[Score]]:
        """Return the scores of each setting; both in the order in which they came."""
        found: dict[Setting, list[Score]] = {}
        for score in self.scores:
            found.setdefault(score.setting, []).append(score)
        return found

    def values_of(self, axis: str) -> list[str]:
        """Return the different values of an axis, in the order in which they came."""
        at = self.axes.index(axis)
        return list(dict.fromkeys(setting[at] for setting in self.by_setting))

    @cached_property
    def made_up(self) -> int:
        """Return how many runs used made-up weights."""
        return sum(score.made_up for score in self.scores)

    @cached_property
    def largest(self) -> float:
        """Return the score that is farthest from 0, without its sign."""
        return max(abs(score.value) for score in self.scores)

    def csv(self) -> str:
        """Return the table as CSV, from which `read_scores` reads the same numbers to the bit."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        mark = [MADE_UP] * bool(self.made_up)
        writer.writerow([*self.axes, SEED, self.metric, *mark])
        for score in self.scores:
            marked = [str(score.made_up).lower()] * bool(mark)
            writer.writerow([*score.setting, score.seed, repr(float(score.value)), *marked])
        return text.getvalue()


def setting_text(axes: Sequence[str], setting: Setting) -> str:
    """Name a setting for people: "encoder yamnet, overlap 0.5"."""
    return ", ".join(f"{axis} {value}" for axis, value in zip(axes, setting, strict=True))


def read_scores(path: Path, metric: str | None = None) -> ScoreTable:
    """Read what `ScoreTable.csv` gives, or anything else with such columns.

    Args:
        path: a CSV in UTF-8.
        metric: the column to read of those behind `seed`; without, the last of them but `made_up`.

    Raises:
        TableError: the file cannot be read, lacks a column or a value, has a value that is no number, or is
            refused by `ScoreTable`.
    """
    rows = _rows(path)
    line, columns = next(rows, (1, []))
    if SEED not in columns:
        hint = " Separate them by commas." if len(columns) == 1 else ""
        raise TableError(
            f"{path} has the columns {', '.join(columns) or '(none)'}; it needs a column for each axis, "
            f"then {SEED}, then the metric, such as encoder,adapter,{SEED},spider.{hint}"
        )
    at = columns.index(SEED)
    metrics = [name for name in columns[at + 1 :] if name != MADE_UP]
    if not metrics:
        raise TableError(f"{path} has no metric: it needs a column of scores behind {SEED}.")
    if metric not in (None, *metrics):
        raise TableError(f"{path} has no metric {metric!r}; behind {SEED} stand {', '.join(metrics)}.")
    metric = metric or metrics[-1]
    doubled = [name for name, times in Counter(columns).items() if times > 1]
    if doubled:
        raise TableError(f"{path} has the column {doubled[0]!r} twice; rename one of them.")
    scores = []
    for line, values in rows:
        if len(values) != len(columns):
            raise TableError(f"{path} has {len(values)} fields for {len(columns)} columns in line {line}.")
        cells = dict(zip(columns, values, strict=True))
        try:
            scores.append(_score(cells, columns[:at], metric))
        except ValueError as error:
            raise TableError(f"{path}, line {line}: {error}.") from error
    try:
        return ScoreTable(tuple(columns[:at]), metric, tuple(scores))
    except TableError as error:
        raise TableError(f"{path}: {error}") from error


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines that are not empty, numbered from 1, without white space around values."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise TableError(f"There is no {path}; name a CSV of scores.") from error
    except OSError as error:
        raise TableError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.") from error
    except UnicodeDecodeError as error:
        raise TableError(f"{path} is not a CSV in UTF-8. Save it as one.") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for values in reader:
            if any(values):
                yield line, [value.strip() for value in values]
            line = reader.line_num + 1
    except csv.Error as error:
        raise TableError(f"{path} is not a CSV: {error} in line {line}.") from error


def _score(cells: dict[str, str], axes: Sequence[str], metric: str) -> Score:
    """Read a row; raises ValueError, with half a sentence, for what is none."""
    for name in (*axes, SEED, metric):
        if not cells[name]:
            raise ValueError(f"{name!r} has no value")
    try:
        seed = int(cells[SEED])
    except ValueError:
        raise ValueError(f"{SEED} is {cells[SEED]!r:.60}, not a whole number") from None
    try:
        value = float(cells[metric])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{metric} is {cells[metric]!r:.60}, not a number")
    mark = cells.get(MADE_UP, "").lower()
    if mark not in _YES_OR_NO:
        raise ValueError(f"{MADE_UP} is {mark!r:.60}, not true or false")
    return Score(tuple(cells[axis] for axis in axes), seed, value, _YES_OR_NO[mark])
