"""`otoscribe export RUN BUNDLE`: a trained run → a model that `otoscribe caption --model` takes."""

from pathlib import Path
from typing import Annotated

import typer

from otoscribe.cli.options import Weights, Words
from otoscribe.cli.output import warn_if_unfinished
from otoscribe.cli.terminal import printable
from otoscribe.errors import RunError


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a training run.")],
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder to create.")],
    float16: Annotated[
        bool, typer.Option("--float16", help="Store weights in 16 bits: half the size, rounded.")
    ] = False,
    weights: Weights = None,
    words: Words = None,
    beam: Annotated[
        int, typer.Option(metavar="N", help="Hypotheses that the model keeps while searching.")
    ] = 4,
    maximum_words: Annotated[
        int, typer.Option(metavar="N", help="Words after which it ends a caption.")
    ] = 30,
    minimum_words: Annotated[
        int, typer.Option(metavar="N", help="Words before which it does not end one.")
    ] = 1,
    length_normalisation: Annotated[
        float, typer.Option(metavar="X", help="It ranks captions by log-probability / tokens ** X.")
    ] = 0.0,
    no_repeat: Annotated[
        int, typer.Option(metavar="N", help="Size of word n-grams that it says only once; 0 allows all.")
    ] = 0,
) -> None:
    """Turn a trained run into a model for captioning, and show that both give the same probabilities."""
    # Here and not at the top: `otoscribe --help` need not wait for pydantic or torch, nor need the latter.
    from otoscribe.search.options import Search

    search = Search(
        beam=beam,
        maximum_words=maximum_words,
        minimum_words=minimum_words,
        length_normalisation=length_normalisation,
        no_repeat=no_repeat,
    )
    from otoscribe.train.export import export as export_run

    warn_if_unfinished(run, "exported")

    try:
        difference = export_run(run, bundle, search=search, float16=float16, weights=weights, words=words)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise RunError(f"{bundle} cannot be written: {reason}. Choose another folder.") from error
    size = sum(file.stat().st_size for file in bundle.iterdir())
    print(
        printable(f"{bundle}: {size / 1e6:.1f} MB; ")
        + f"log-probabilities differ by at most {difference:.1e} from the run's."
    )
