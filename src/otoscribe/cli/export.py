"""`otoscribe export RUN BUNDLE`: a trained run → a model that `otoscribe caption --model` takes."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a training run.")],
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder to create.")],
    float16: Annotated[
        bool, typer.Option("--float16", help="Store weights in 16 bits: half the size, rounded.")
    ] = False,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of the encoder's published weights.",
            show_default="where `otoscribe get` puts them",
        ),
    ] = None,
) -> None:
    """Turn a trained run into a model for captioning, and show that both give the same probabilities."""
    # Here and not at the top: `otoscribe --help` need not wait for torch, nor need it.
    from otoscribe.train.export import export as export_run

    difference = export_run(run, bundle, float16=float16, weights=weights)
    size = sum(file.stat().st_size for file in bundle.iterdir())
    print(
        f"{bundle}: {size / 1e6:.1f} MB; log-probabilities differ by at most {difference:.1e} from the run's."
    )
