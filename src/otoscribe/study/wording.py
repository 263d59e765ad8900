"""How a report writes numbers, settings and claims."""

import math
from collections.abc import Callable

from otoscribe.study import published
from otoscribe.study.findings import Findings
from otoscribe.study.published import Tested
from otoscribe.study.scores import Setting
from otoscribe.study.statistics import ALPHA, PairedTest, Summary

NONE = "\u2013"
"""Where there is no value."""
MINUS = "\u2212"
TIMES = "\u00d7"
SPACE = "\u00a0"
"""Where a line must not break."""
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MADE_UP = "made-up weights"


def metric_name(findings: Findings) -> str:
    """Return the metric as people write it."""
    metric = findings.table.metric
    return "SPIDEr" if metric.lower() == published.METRIC else metric


def number(findings: Findings, sign: str = "") -> Callable[[float], str]:
    """Return what writes scores with four significant digits of the highest: 0.1793, 17.93."""
    highest = findings.table.largest or 1.0
    if not 1e-9 <= highest < 1e9:
        return lambda value: _power(value, 3, sign)
    decimals = min(12, max(0, 3 - math.floor(math.log10(highest))))
    return lambda value: f"{value:{sign}.{decimals}f}".replace("-", MINUS)


def mean_sd(findings: Findings, one: Summary) -> str:
    """Return "0.1793 ± 0.0066", or the score alone of a single run."""
    write = number(findings)
    return write(one.mean) if one.sd is None else f"{write(one.mean)}{SPACE}±{SPACE}{write(one.sd)}"


def interval(findings: Findings, one: Summary) -> str:
    """Return "0.1746 to 0.1840"."""
    return NONE if one.interval is None else " to ".join(map(number(findings), one.interval))


def p_value(p: float) -> str:
    """Return "0.0312", or "3.9×10⁻⁶"; of so many pairs that p is 0 to a computer, what it is below."""
    if not p:
        return f"<{SPACE}{_power(1e-300, 1)}"
    return f"{p:.4f}" if p >= 0.001 else _power(p, 1)


def statistic(value: float) -> str:
    """Return "112", or "112.5" with ties."""
    return f"{value:.1f}".removesuffix(".0")


def published_test(known: Tested) -> str:
    """Return "W = 112, p < 3.92×10⁻⁶"."""
    return f"W{SPACE}={SPACE}{known.statistic}, p{SPACE}<{SPACE}{_power(known.p_below, 2)}"


def _power(value: float, decimals: int, sign: str = "") -> str:
    # No "3.92e-6": a line may break behind its hyphen.
    number, exponent = f"{value:{sign}.{decimals}e}".replace("-", MINUS, value < 0).split("e")
    return f"{number}{TIMES}10{str(int(exponent)).translate(RAISED)}"


def effect(value: float) -> str:
    """Return "+0.83"."""
    return f"{value:+.2f}".replace("-", MINUS)


def runs(n: int) -> str:
    """Return "10 runs"."""
    return "1 run" if n == 1 else f"{n} runs"


def setting_name(findings: Findings, setting: Setting) -> str:
    """Return "encoder yamnet, overlap 50 %, words glove, tuned"."""
    return ", ".join(value_name(findings, *one) for one in zip(findings.table.axes, setting, strict=True))


def value_name(findings: Findings, axis: str, value: str) -> str:
    """Return "words glove"; "tuned" and "fixed" speak for themselves."""
    text = findings.shown(axis, value)
    return text if axis == "tuned" and text in ("tuned", "fixed") else f"{axis} {text}"


def claim(findings: Findings, test: PairedTest) -> str:
    """Return "tuned > fixed", or "overlap: 50 % > none"."""
    axis = test.comparison.axis
    higher, lower = (findings.shown(axis, value) for value in (test.comparison.higher, test.comparison.lower))
    return f"{higher} > {lower}" if axis == "tuned" else f"{axis}: {higher} > {lower}"


def remarks(test: PairedTest) -> str:
    """Return what to know of a test before its p."""
    found = []
    if not test.n:
        found.append("no pair differs, so there is nothing to test")
    elif test.smallest_p > ALPHA:
        found.append(f"too few pairs: p cannot be below {p_value(test.smallest_p)}")
    if test.unpaired:
        found.append(f"left out, as they have no partner: {test.unpaired} settings")
    if test.made_up:
        found.append(MADE_UP)
    return "; ".join(found)
