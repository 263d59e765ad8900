"""A pytest plugin that ends a run with what was skipped, and for want of what."""

from collections import defaultdict

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped: dict[str, list[str]] = defaultdict(list)
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        # A file that is skipped as it is collected does not say how many tests it has.
        skipped[reason].append("file" if isinstance(report, pytest.CollectReport) else "test")
    for reason, kinds in sorted(skipped.items(), key=lambda entry: -len(entry[1])):
        counts = [(kinds.count(kind), kind) for kind in ("test", "file") if kind in kinds]
        said = " and ".join(f"{count} {kind}{'s' * (count > 1)}" for count, kind in counts)
        terminalreporter.write_line(f"{said} skipped: {reason}")
