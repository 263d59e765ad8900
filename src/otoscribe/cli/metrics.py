"""`otoscribe metrics install`: the files that metrics need beside their Python packages."""

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
            help="Copy from this folder, or an archive in it.",
            show_default="the network",
        ),
    ] = None,
    fense: Annotated[
        bool,
        typer.Option(
            "--fense", help="Install the networks of FENSE and SPIDEr-FL (700 MB), and not SPICE's files."
        ),
    ] = False,
) -> None:
    """Install files that metrics need; without an option, SPICE's (16 MB)."""
    with terminal.Bars() as bars:
        folder = _install_fense(source, bars) if fense else _install_spice(source, bars)
    print(terminal.printable(f"Installed in {folder}"))


# Imports here and not at the top: `otoscribe --help` need not wait for them.


def _install_spice(source: Path | None, bars: terminal.Bars) -> Path:
    from otoscribe.metrics.java.spice_files import SpiceFiles

    spice = SpiceFiles()
    if source is None:
        spice.install(bars.show)
    else:
        spice.install_from(source)
    return spice.folder


def _install_fense(source: Path | None, bars: terminal.Bars) -> Path:
    from otoscribe.fetch.published import copy, download, or_by_hand
    from otoscribe.metrics.fense.networks import FILES, INSTALL, folder

    with or_by_hand(FILES, INSTALL):
        for file in FILES:
            if source is None:
                download(file, folder(), bars.show)
            else:
                copy(file, folder(), source)
    return folder()
