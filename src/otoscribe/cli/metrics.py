"""`otoscribe metrics install`: the files that SPICE needs beside its Python packages."""

from pathlib import Path
from typing import Annotated

import typer

from otoscribe.cli import terminal

metrics = typer.Typer(help="Install what metrics need.", no_args_is_help=True, rich_markup_mode=None)


@metrics.callback()
def _group() -> None:
    # With a callback, typer keeps the name of a single subcommand.
    pass


@metrics.command()
def install(
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="PATH",
            help="Copy from this folder, or from an archive in it, and not from the network.",
            show_default="Maven Central",
        ),
    ] = None,
) -> None:
    """Install the files of CoreNLP that SPICE parses with (16 MB), each checked."""
    # Here and not at the top: `otoscribe --help` need not wait for it.
    from otoscribe.metrics.spice_files import SpiceFiles

    spice = SpiceFiles()
    with terminal.Bars() as bars:
        if source is None:
            spice.install(bars.show)
        else:
            spice.install_from(source)
    print(terminal.printable(f"SPICE's files are in {spice.folder}"))
