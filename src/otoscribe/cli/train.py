"""`otoscribe train SETTINGS`: recordings with captions in, a run folder out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otoscribe.cli import terminal
from otoscribe.cli.options import Changes, Device, Features, SkipMissing, Threads, Weights, Words

if TYPE_CHECKING:
    from otoscribe.train.history import Epoch
    from otoscribe.train.monitor import Sample


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
    runtime = trainer.RuntimeSettings(device=device, threads=threads)
    trainer.device_of(runtime)  # or it is told now, not after the recordings were read
    places = Places(
        training=clips,
        validation=validation,
        weights=weights,
        words=words,
        features=features,
        skip_missing=skip_missing,
    )
    with terminal.quiet_libraries(), terminal.Bars() as bars:
        experiment = prepare(chosen, places, bars.show, device)
    for line in experiment.coverage().lines():
        print(terminal.printable(line), flush=True)
    with terminal.Bars() as bars:
        trainer.embed_captions(experiment, runtime, bars.show)
    with terminal.Bars() as bars:
        talk = _Talk(bars)
        run = trainer.train(experiment, runs, runtime, talk.say, talk.keep, bars.show)
    print(terminal.printable(str(run)))


class _Talk:
    """One line an epoch; a line more with a caption."""

    def __init__(self, bars: terminal.Bars) -> None:
        self._bars = bars
        self._sample: Sample | None = None

    def keep(self, sample: "Sample") -> None:
        """Keep what belongs to the epoch that is reported next."""
        self._sample = sample

    def say(self, epoch: "Epoch") -> None:
        """Print an epoch; of one of an earlier process, only the losses are known."""
        line = (
            f"epoch {epoch.epoch}: training loss {epoch.training_loss:.4f}, "
            f"validation loss {epoch.validation_loss:.4f}"
        )
        sample, self._sample = self._sample, None
        if sample:
            line += f", {sample.pairs_per_second:.0f} pairs/s"
            line += f"\n  {_quoted(sample.caption)}, where somebody wrote {_quoted(sample.reference)}"
        self._bars.write(f"{line}\n")


def _quoted(caption: str) -> str:
    return f'"{terminal.printable(caption)}"'
