"""`otoscribe train SETTINGS`: recordings with captions in, a run folder out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otoscribe.cli import terminal
from otoscribe.cli.options import Changes, Device, Features, SkipMissing, Threads, Weights, Words

if TYPE_CHECKING:
    from otoscribe.train.history import Epoch


def train(
    settings: Annotated[
        str,
        typer.Argument(
            metavar="SETTINGS",
            help="A preset (paper, paper-128, modern), or a TOML file with settings like it.",
        ),
    ],
    clips: Annotated[
        Path,
        typer.Option(
            metavar="TABLE",
            help="Recordings to learn from: a CSV, a folder with one, or a split as clotho:development.",
        ),
    ],
    validation: Annotated[
        Path, typer.Option(metavar="TABLE", help="Recordings that choose the best epoch, likewise.")
    ],
    changes: Changes = None,
    weights: Weights = None,
    words: Words = None,
    skip_missing: SkipMissing = False,
    runs: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of all runs.")] = Path("runs"),
    features: Features = Path("features"),
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Train a model on captioned recordings; a run that was interrupted goes on."""
    # Here and not at the top: `otoscribe --help` need not wait for torch, nor need it.
    from otoscribe.train import trainer
    from otoscribe.train.experiment import Places, prepare
    from otoscribe.train.settings import read_settings

    chosen = read_settings(settings, changes or ())
    places = Places(
        training=clips,
        validation=validation,
        weights=weights,
        words=words,
        features=features,
        skip_missing=skip_missing,
    )
    with terminal.quiet_libraries(), terminal.Bars() as bars:
        experiment = prepare(chosen, places, bars.show)
    for line in experiment.coverage().lines():
        print(terminal.printable(line), flush=True)
    runtime = trainer.RuntimeSettings(device=device, threads=threads)
    with terminal.Bars() as bars:
        trainer.embed_captions(experiment, runtime, bars.show)
    print(terminal.printable(str(trainer.train(experiment, runs, runtime, _say))))


def _say(epoch: "Epoch") -> None:
    print(
        f"epoch {epoch.epoch}: training loss {epoch.training_loss:.4f}, "
        f"validation loss {epoch.validation_loss:.4f}",
        flush=True,
    )
