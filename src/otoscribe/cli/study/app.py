"""`otoscribe study`: many settings, each trained with several seeds."""

import typer

from otoscribe.cli.study.plan import plan, status
from otoscribe.cli.study.report import report
from otoscribe.cli.study.run import run

study = typer.Typer(
    help="Compare many settings, each trained with several seeds.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
for command in (plan, run, report, status):
    study.command()(command)
