"""What a report says: what went into a study, and everything computed from its scores."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from otoscribe.errors import unknown_name
from otoscribe.study import published
from otoscribe.study.scores import ScoreTable, Setting
from otoscribe.study.statistics import (
    ALPHA,
    Comparison,
    PairedTest,
    Summary,
    best_by,
    paired_tests,
    summaries,
)

CURVES = 8
"""Settings whose learning curves one figure still shows."""


@dataclass(frozen=True)
class NotRun:
    """A setting without any run."""

    setting: Setting
    missing: str
    """The file that is not there, or another reason."""
    command: str = ""
    """What brings it."""


@dataclass(frozen=True)
class Sample:
    """What the settings of the highest and the lowest mean wrote about one recording."""

    recording: str
    references: tuple[str, ...]
    best: str
    worst: str


@dataclass(frozen=True)
class Report:
    """What a report is made of; all but the scores may be missing."""

    scores: ScoreTable
    title: str = "A study of audio captioning"
    data: str = ""
    """What was captioned, for people: "Clotho, evaluation split"."""
    on_clotho: bool | None = None
    """Whether that is Clotho's evaluation split, as in the paper; `None`: not known."""
    recordings: int | None = None
    """How many recordings every score rests on."""
    planned: int | None = None
    """Runs that the whole study has."""
    not_run: tuple[NotRun, ...] = ()
    failed: int = 0
    """Runs that ended with an error."""
    same: int = 0
    """Runs that wrote the same caption for every recording."""
    curves: Mapping[Setting, Sequence[Sequence[float]]] = field(default_factory=dict)
    """Validation loss of every epoch, of every run of a setting."""
    samples: tuple[Sample, ...] = ()
    comparisons: tuple[Comparison, ...] | None = None
    """Claims to test; `None` takes the paper's, as far as the scores have their axes."""
    best_by: str | None = None
    """The axis for each value of which the best setting is shown; `None`: `encoder`, or else the first."""

    def __post_init__(self) -> None:
        if self.best_by not in (None, *self.scores.axes):
            raise unknown_name("axis", str(self.best_by), self.scores.axes)


class Findings:
    """What a report's scores say.

    Raises:
        UsageError: a comparison names an axis or a value that the scores lack.
    """

    def __init__(self, report: Report) -> None:
        self.report = report
        self.table = table = report.scores
        self.settings: list[Summary] = summaries(table)
        self.best_axis = report.best_by or ("encoder" if "encoder" in table.axes else table.axes[0])
        self.best_by: list[Summary] = best_by(self.best_axis, table)
        claims = published.comparisons(table) if report.comparisons is None else report.comparisons
        self.tests: list[PairedTest] = paired_tests(table, claims)
        self._comparable = published.is_comparable(table, report.on_clotho)

    @property
    def best(self) -> Summary:
        """The setting of the highest mean."""
        return self.settings[0]

    @property
    def worst(self) -> Summary:
        """The setting of the lowest mean."""
        return self.settings[-1]

    @property
    def runs(self) -> int:
        """How many runs the report rests on."""
        return len(self.table.scores)

    @property
    def complete(self) -> bool:
        """Whether no planned run is missing."""
        return self.report.planned in (None, self.runs)

    @property
    def seeds(self) -> tuple[int, int]:
        """The lowest and the highest number of runs that a setting has."""
        counts = [one.n for one in self.settings]
        return min(counts), max(counts)

    @property
    def significant(self) -> list[PairedTest]:
        """The tests whose corrected p is below the level."""
        return [test for test in self.tests if test.holm is not None and test.holm < ALPHA]

    @cached_property
    def missing(self) -> list[tuple[str, str, list[Setting]]]:
        """What kept settings from running, with the command that brings it, and which settings these are."""
        found: dict[tuple[str, str], list[Setting]] = {}
        for one in self.report.not_run:
            found.setdefault((one.missing, one.command), []).append(one.setting)
        return [(*cause, settings) for cause, settings in found.items()]

    def shown(self, axis: str, value: str) -> str:
        """Return the paper's word for a value of its axes, unless two values of the study would share it."""
        word = published.shown(axis, value)
        return word if self._words[axis][word] < 2 else value

    @cached_property
    def _words(self) -> dict[str, Counter[str]]:
        table = self.table
        return {
            axis: Counter(published.shown(axis, value) for value in table.values_of(axis))
            for axis in table.axes
        }

    @property
    def curves(self) -> dict[Setting, Sequence[Sequence[float]]]:
        """The learning curves that are drawn: of the best settings and the worst, as far as there is room."""
        chosen = dict.fromkeys(one.setting for one in (*self.best_by[: CURVES - 1], self.worst))
        known = self.report.curves
        return {setting: known[setting] for setting in chosen if setting in known}

    def groups(self, axis: str, by: str | None) -> dict[str, dict[str, list[float]]]:
        """Return the means of the settings with each value of an axis, and of another axis within it."""
        table = self.table
        at, beside = table.axes.index(axis), None if by is None else table.axes.index(by)
        found: dict[str, dict[str, list[float]]] = {}
        for value in table.values_of(axis):
            # In the order of the axis in every group, so that a box has its colour wherever it is.
            parts = [""] if by is None else table.values_of(by)
            inner = {
                part: [
                    one.mean
                    for one in self.settings
                    if one.setting[at] == value and (beside is None or one.setting[beside] == part)
                ]
                for part in parts
            }
            found[value] = {part: means for part, means in inner.items() if means}
        return found

    def as_json(self) -> dict[str, Any]:
        """Return everything as numbers and texts, for programs."""
        report = self.report
        return {
            "title": report.title,
            "data": report.data,
            "recordings": report.recordings,
            "metric": self.table.metric,
            "axes": list(self.table.axes),
            "runs": self.runs,
            "planned": report.planned,
            "failed": report.failed,
            "same_caption": report.same,
            "made_up_runs": self.table.made_up,
            "best": self._summary(self.best),
            "worst": self._summary(self.worst),
            "best_by": self.best_axis,
            "best_settings": [self._with_published(one) for one in self.best_by],
            "settings": [self._summary(one) for one in self.settings],
            "tests": [self._test(test) for test in self.tests],
            "not_run": [
                {"missing": missing, "command": command, "settings": [self._named(one) for one in settings]}
                for missing, command, settings in self.missing
            ],
            "curves": [
                {"setting": self._named(setting), "validation_losses": [list(run) for run in runs]}
                for setting, runs in report.curves.items()
            ],
            "samples": [asdict(sample) for sample in report.samples],
        }

    def _named(self, setting: Setting) -> dict[str, str]:
        return dict(zip(self.table.axes, setting, strict=True))

    def _summary(self, one: Summary) -> dict[str, Any]:
        low, high = one.interval or (None, None)
        return {
            "setting": self._named(one.setting),
            "mean": one.mean,
            "sd": one.sd,
            "n": one.n,
            "low": low,
            "high": high,
            "made_up_runs": one.made_up,
        }

    def _with_published(self, one: Summary) -> dict[str, Any]:
        known = self.published_best(one)
        return self._summary(one) | {"published": None if known is None else asdict(known)}

    def published_best(self, one: Summary) -> published.Best | None:
        """Return what the paper has for the encoder of a setting, if the scores can stand beside it."""
        if not self._comparable or "encoder" not in self.table.axes:
            return None
        return published.published_best(one.setting[self.table.axes.index("encoder")])

    def published_test(self, test: PairedTest) -> published.Tested | None:
        """Return the paper's result of the same test, if the scores can stand beside it."""
        return published.published_test(test) if self._comparable else None

    def _test(self, test: PairedTest) -> dict[str, Any]:
        claim, known = asdict(test.comparison), self.published_test(test)
        return claim | {
            "value": test.value,
            **{name: getattr(test, name) for name in TEST_FIELDS},
            "published": None if known is None else asdict(known),
        }


TEST_FIELDS = ("pairs", "unpaired", "n", "difference", "statistic", "p", "holm", "effect", "made_up")
