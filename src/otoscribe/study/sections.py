"""Findings → the sections of a report, in words."""

from collections.abc import Callable, Sequence
from math import prod

from otoscribe.study import published
from otoscribe.study.figures import FEWEST_FOR_A_BOX, box_plot, learning_curves
from otoscribe.study.findings import Findings
from otoscribe.study.page import Cell, Column, Page, Section, Table
from otoscribe.study.published import SOURCE
from otoscribe.study.scores import Setting
from otoscribe.study.statistics import ALPHA, Summary
from otoscribe.study.wording import (
    MADE_UP,
    MINUS,
    NONE,
    SPACE,
    claim,
    effect,
    interval,
    mean_sd,
    metric_name,
    number,
    p_value,
    published_test,
    remarks,
    runs,
    setting_name,
    statistic,
    value_name,
)

MOST_BOXES = 200
"""Of a figure that can still be read."""
INTERVAL = Column(f"95{SPACE}% interval", numeric=True)


def page_of(findings: Findings) -> Page:
    """Return the whole report."""
    parts = (_best, _figures, _tests, _curves, _samples, _settings, _not_run, _about)
    sections = [section for part in parts if (section := part(findings)) is not None]
    report = findings.report
    return Page(report.title, report.data, _facts(findings), _warnings(findings), tuple(sections))


def text_of(findings: Findings) -> list[str]:
    """Return the report in a few lines, for a terminal."""
    facts = [f"{what}: {much.replace(SPACE, ' ')}" for what, much in _facts(findings)]
    best = setting_name(findings, findings.best.setting).replace(SPACE, " ")
    return [*_warnings(findings), *facts, f"best setting: {best}"]


def _facts(findings: Findings) -> tuple[tuple[str, str], ...]:
    planned, (fewest, most) = findings.report.planned, findings.seeds
    best_run = max(score.value for score in findings.table.scores)
    facts = [
        ("runs", f"{findings.runs}" if planned is None else f"{findings.runs} of {planned} planned"),
        ("settings", f"{len(findings.settings)}"),
        ("runs per setting", f"{fewest}" if fewest == most else f"{fewest} to {most}"),
        *([] if findings.report.recordings is None else [("recordings", f"{findings.report.recordings}")]),
        (f"best mean {metric_name(findings)}", mean_sd(findings, findings.best)),
        (f"best single {metric_name(findings)}", number(findings)(best_run)),
    ]
    if findings.tests:
        facts.append(("claims that hold", f"{len(findings.significant)} of {len(findings.tests)}"))
    return tuple(facts)


def _warnings(findings: Findings) -> tuple[str, ...]:
    found = []
    made_up, number_of_runs = findings.table.made_up, findings.runs
    if made_up:
        found.append(
            f"Not a result: {made_up} of {number_of_runs} runs used {MADE_UP}, which a formula gives for "
            "tests. Their scores say nothing about captioning."
        )
    if not findings.complete:
        found.append(
            f"Not finished: this report rests on {number_of_runs} of {findings.report.planned} planned runs."
        )
    if findings.report.failed:
        found.append(f"Runs that failed and are left out: {findings.report.failed}.")
    if findings.report.same:
        found.append(
            f"Learned little: {findings.report.same} of {number_of_runs} runs wrote the same caption for "
            "every recording."
        )
    return tuple(found)


def _best(findings: Findings) -> Section:
    axis, axes = findings.best_axis, findings.table.axes
    others = [name for name in axes if name != axis]
    known = [findings.published_best(one) for one in findings.best_by]
    columns = [Column(axis), *map(Column, others), Column("mean ± SD", numeric=True)]
    columns += [Column("n", numeric=True), INTERVAL, *_weights_column(findings)]
    columns += [Column("published", numeric=True)] * any(known)
    rows = []
    for one, best in zip(findings.best_by, known, strict=True):
        values = dict(zip(axes, one.setting, strict=True))
        sign = published.sign(values.get("overlap", ""))
        rows.append(
            (
                Cell(f"{findings.shown(axis, values[axis])} {sign}".rstrip(), strong=True),
                *(Cell(findings.shown(name, values[name])) for name in others),
                Cell(mean_sd(findings, one), strong=True),
                *_n_and_interval(findings, one),
                *([Cell(str(best or NONE))] * any(known)),
            )
        )
    text = [
        f"The best of all settings ({len(findings.settings)}) is "
        f"{setting_name(findings, findings.best.setting)}: {mean_sd(findings, findings.best)} "
        f"({metric_name(findings)}, mean ± SD of {runs(findings.best.n)}).",
        f"The best settings are chosen by the same mean that is shown, as in {SOURCE}, so they look better "
        "than they are: the best of many is in part the luckiest.",
    ]
    notes = []
    if "overlap" in axes:
        notes.append("† with windows that overlap, * without.")
    if any(known):
        text.append(
            f"The published figures are those of {SOURCE}: SPIDEr on the evaluation split of Clotho, means "
            "of ten runs, all with BERT and multi-head attention; the best single run had "
            f"{published.BEST_RUN}. Scores on other recordings cannot be compared with them."
        )
    caption = f"The setting of the highest mean for each value of {axis}"
    table = Table(caption, tuple(columns), tuple(rows), _made_up_rows(findings.best_by))
    return Section("best", f"Best setting of each {axis}", tuple(text), (table,), notes=tuple(notes))


def _figures(findings: Findings) -> Section:
    drawn = []
    chosen = figure_axes(findings)
    drawable = [pair for pair in chosen if _boxes(findings, *pair) <= MOST_BOXES]
    for at, (axis, by) in enumerate(drawable, 1):
        groups = {
            findings.shown(axis, value): {
                findings.shown(by, part) if by else "": means for part, means in parts.items()
            }
            for value, parts in findings.groups(axis, by).items()
        }
        in_paper = published.FIGURES.get((axis, by or ""))
        title = (
            f"By {axis}{f' and {by}' if by else ''}{f', as in {in_paper} of {SOURCE}' if in_paper else ''}"
        )
        label = f"mean {metric_name(findings)} of a setting"
        drawn.append(box_plot(f"box-{at}", title, groups, (axis, by), label, _figure_warning(findings)))
    text = (
        f"A dot is the mean {metric_name(findings)} of a setting over its runs. A box holds the middle half "
        "of the dots, its line is the median; whiskers reach to the last dot within 1.5 times the length "
        f"of the box. Of fewer than {FEWEST_FOR_A_BOX} settings only the dots are shown.",
        *["Figures of axes with very many values are left out."] * (drawable != chosen),
    )
    return Section("figures", "All settings at a glance", text, figures=tuple(drawn))


def _boxes(findings: Findings, axis: str, by: str | None) -> int:
    return prod(len(findings.table.values_of(name)) for name in (axis, by) if name)


def figure_axes(findings: Findings) -> list[tuple[str, str | None]]:
    """Return which axes are set against each other: the paper's pairs, and the first axis if they lack it."""
    axes = findings.table.axes
    found: list[tuple[str, str | None]] = [pair for pair in published.FIGURES if set(pair) <= set(axes)]
    if any(axes[0] in pair for pair in found):
        return found
    others: list[str | None] = [*axes[1:]]
    return [*((axes[0], by) for by in others or [None]), *found]


def _tests(findings: Findings) -> Section | None:
    if not findings.tests:
        return None
    known = [findings.published_test(test) for test in findings.tests]
    remarked = [remarks(test) for test in findings.tests]
    columns = [Column("claim"), Column("within")]
    columns += [Column(title, True) for title in ("pairs", "n", "difference", "W", "p", "p (Holm)", "effect")]
    columns += [Column("published")] * any(known) + [Column("remarks")] * any(remarked)
    rows = []
    for test, result, remark in zip(findings.tests, known, remarked, strict=True):
        axis = test.comparison.within
        rows.append(
            (
                Cell(claim(findings, test)),
                Cell(NONE if axis is None else value_name(findings, axis, test.value or "")),
                Cell(f"{test.pairs}", test.pairs),
                Cell(f"{test.n}", test.n),
                _maybe(test.difference, number(findings, "+")),
                _maybe(test.statistic, statistic),
                _maybe(test.p, p_value),
                _maybe(test.holm, p_value, strong=test in findings.significant),
                _maybe(test.effect, effect),
                *([Cell(NONE if result is None else published_test(result))] * any(known)),
                *([Cell(remark or NONE)] * any(remarked)),
            )
        )
    text = (
        f"Claims that hold at {ALPHA} after correction: {len(findings.significant)} of "
        f"{len(findings.tests)} (in bold).",
    )
    notes = [
        "One-sided Wilcoxon signed-rank tests. Each pair is two settings that differ in the claim's axis "
        "alone, each by its mean over its runs; n of the pairs differ at all. W is the sum of the ranks of "
        "the pairs that contradict the claim: the smaller, the clearer. p is exact for 50 pairs or less "
        "that all differ, each by another amount. Holm's correction is over all tests of this report. The "
        f"effect is the rank-biserial correlation: +1 if every pair agrees with the claim, {MINUS}1 "
        "if every pair contradicts it.",
        "The pairs share data, encoders and words, so a low p says that the direction is the same "
        "throughout these settings. It does not say what another encoder or other data would give.",
    ]
    if any(known):
        notes.append(
            "Both published p follow from their W with 44 pairs and with no other number, while 264 "
            "settings give 33 pairs for each encoder. What was paired is not stated."
        )
    made_up = frozenset(at for at, test in enumerate(findings.tests) if test.made_up)
    table = Table("Claims and their tests", tuple(columns), tuple(rows), made_up, sortable=True)
    return Section("tests", "Tests", text, (table,), notes=tuple(notes))


def _curves(findings: Findings) -> Section | None:
    curves = {setting_name(findings, setting): losses for setting, losses in findings.curves.items()}
    if not curves:
        return None
    title, warning = "Validation loss while training", _figure_warning(findings)
    text = (
        "The mean over the runs of a setting as far as all of them trained, with a band of one standard "
        "deviation; each run is a thin line.",
    )
    drawn = learning_curves("curves", title, curves, "validation loss", warning)
    return Section("curves", "Learning curves", text, figures=(drawn,))


def _samples(findings: Findings) -> Section | None:
    if not findings.report.samples:
        return None
    columns = tuple(map(Column, ("recording", "references", "best setting", "worst setting")))
    rows = tuple(
        (Cell(one.recording), Cell("\n".join(one.references)), Cell(one.best), Cell(one.worst))
        for one in findings.report.samples
    )
    text = tuple(
        f"{which} setting: {setting_name(findings, one.setting)} ({mean_sd(findings, one)})."
        for which, one in (("Best", findings.best), ("Worst", findings.worst))
    )
    table = Table("Captions of the best and the worst setting beside references", columns, rows)
    return Section("samples", "Sample captions", text, (table,))


def _settings(findings: Findings) -> Section:
    axes, write = findings.table.axes, number(findings)
    orders = [_numbers(findings.table.values_of(axis)) for axis in axes]
    columns = [Column("rank", True)]
    columns += [Column(axis, bool(order)) for axis, order in zip(axes, orders, strict=True)]
    columns += [Column(title, True) for title in ("mean", "SD", "n")]
    columns += [INTERVAL, *_weights_column(findings)]
    rows = tuple(
        (
            Cell(f"{rank}", rank),
            *(
                Cell(findings.shown(axis, value), order.get(value))
                for axis, value, order in zip(axes, one.setting, orders, strict=True)
            ),
            Cell(write(one.mean), one.mean, strong=True),
            _maybe(one.sd, write),
            *_n_and_interval(findings, one),
        )
        for rank, one in enumerate(findings.settings, 1)
    )
    spans = [one.interval or (one.mean, one.mean) for one in findings.settings]
    low, high = min(span[0] for span in spans), max(span[1] for span in spans)
    scale = 100 / ((high - low) or 1)
    intervals = tuple(
        (scale * (span[0] - low), scale * (one.mean - low), scale * (span[1] - low))
        for span, one in zip(spans, findings.settings, strict=True)
    )
    caption = f"All settings, the best first; lines drawn from {write(low)} to {write(high)}"
    made_up = _made_up_rows(findings.settings)
    table = Table(caption, tuple(columns), rows, made_up, intervals, sortable=True)
    text = (
        f"Mean and standard deviation (SD) of {metric_name(findings)} over the runs (n) of each setting, "
        f"with the 95{SPACE}% interval of the mean (Student's t).",
    )
    return Section("settings", "All settings", text, (table,))


def _numbers(values: Sequence[str]) -> dict[str, float]:
    """Return what the values of an axis are sorted by if all are numbers: as text, .5 comes before .25."""
    try:
        return {value: float(value) for value in values}
    except ValueError:
        return {}


def _not_run(findings: Findings) -> Section | None:
    if not findings.missing:
        return None
    columns = (Column("settings"), Column("number", True), Column("missing"), Column("what brings it"))
    rows = tuple(
        (
            Cell(_common(findings, settings)),
            Cell(f"{len(settings)}", len(settings)),
            Cell(missing, code=True),
            Cell(command or NONE, code=bool(command)),
        )
        for missing, command, settings in findings.missing
    )
    absent = {one.setting for one in findings.report.not_run}  # of which one may lack two files
    text = (f"Settings that were not run, and are not in this report: {len(absent)}.",)
    return Section("not-run", "Not run", text, (Table("Settings that were not run", columns, rows),))


def _about(_: Findings) -> Section:
    text = (
        "Everything rests on the means of settings: runs of one setting differ by their seed alone. Higher "
        "scores are better. Intervals take the runs of a setting as normal and say how well its mean is "
        "known, not how far other data would change it.",
        "Beside this file stand the same report as report.md, every run's score in scores.csv, every "
        "setting in settings.csv, every test in tests.csv, and the figures as figures/*.svg.",
    )
    return Section("about", "About this report", text)


def _common(findings: Findings, settings: Sequence[Setting]) -> str:
    """Return what settings have in common."""
    values = zip(findings.table.axes, zip(*settings, strict=True), strict=True)
    return (
        ", ".join(value_name(findings, axis, found[0]) for axis, found in values if len(set(found)) == 1)
        or "various"
    )


def _n_and_interval(findings: Findings, one: Summary) -> list[Cell]:
    """Return the cells that end the row of a setting."""
    cells = [Cell(f"{one.n}", one.n), Cell(interval(findings, one), one.interval and one.interval[0])]
    if findings.table.made_up:
        made_up = f"made-up ({one.made_up} of {one.n})" if one.made_up else NONE
        cells.append(Cell(made_up, strong=bool(one.made_up)))
    return cells


def _weights_column(findings: Findings) -> list[Column]:
    return [Column("weights")] if findings.table.made_up else []


def _made_up_rows(settings: Sequence[Summary]) -> frozenset[int]:
    return frozenset(at for at, one in enumerate(settings) if one.made_up)


def _figure_warning(findings: Findings) -> str:
    return f"not a result: {MADE_UP}" if findings.table.made_up else ""


def _maybe(value: float | None, form: Callable[[float], str], strong: bool = False) -> Cell:
    return Cell(NONE) if value is None else Cell(form(value), value, strong)
