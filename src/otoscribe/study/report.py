"""A report as files: a page that needs nothing else, the same as Markdown, tables as CSV, figures as SVG."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from otoscribe.errors import OtoscribeError
from otoscribe.files import write_text
from otoscribe.study.findings import TEST_FIELDS, Findings
from otoscribe.study.page import html, markdown
from otoscribe.study.sections import page_of

OURS = re.compile(r"box-\d+|curves")
"""Names of figures that a report may have."""


def write_report(findings: Findings, folder: Path) -> None:
    """Write a report into a folder, in place of an earlier one there, each file whole.

    Files: `report.html`, `report.md`, the `TABLES`, `figures/*.svg`. The same scores give the same bytes.

    Raises:
        OtoscribeError: a file cannot be written.
    """
    page = page_of(findings)
    files = {
        "report.html": html(page),
        "report.md": markdown(page),
        **{name: table(findings) for name, table in TABLES.items()},
    }
    files |= {
        f"figures/{figure.name}.svg": figure.svg for section in page.sections for figure in section.figures
    }
    for name, text in files.items():
        try:
            write_text(folder / name, text)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise OtoscribeError(
                f"{folder / name} cannot be written: {reason}. Choose another folder."
            ) from error
    # An earlier report, on more axes, had more.
    for path in folder.glob("figures/*.svg"):
        if OURS.fullmatch(path.stem) and f"figures/{path.name}" not in files:
            path.unlink(missing_ok=True)


def _scores(findings: Findings) -> str:
    return findings.table.csv()


def _settings(findings: Findings) -> str:
    columns = (*findings.table.axes, "mean", "sd", "n", "low", "high", "made_up_runs")
    rows = [
        (*one.setting, one.mean, one.sd, one.n, *(one.interval or (None, None)), one.made_up)
        for one in findings.settings
    ]
    return _csv(columns, rows)


def _tests(findings: Findings) -> str:
    columns = ("axis", "higher", "lower", "within", "value", *TEST_FIELDS)
    rows = []
    for test in findings.tests:
        claim = test.comparison
        fields = [getattr(test, name) for name in TEST_FIELDS]
        rows.append((claim.axis, claim.higher, claim.lower, claim.within, test.value, *fields))
    return _csv(columns, rows)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return CSV with numbers to the bit, and nothing where there is no value."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([str(cell).lower() if isinstance(cell, bool) else cell for cell in row] for row in rows)
    return text.getvalue()


TABLES = {"scores.csv": _scores, "settings.csv": _settings, "tests.csv": _tests}
"""What a report has beside its page, by the names of files."""
