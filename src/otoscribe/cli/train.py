"""`otoscribe train SETTINGS`: recordings with captions in, a run folder out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otoscribe.cli import terminal
from otoscribe.errors import UsageError

if TYPE_CHECKING:
    from otoscribe.train.history import Epoch


def train(
    settings: Annotated[
        Path, typer.Argument(metavar="SETTINGS", help="JSON with the settings of model and training.")
    ],
    clips: Annotated[
        Path,
        typer.Option(metavar="PATH", help="Recordings to learn from: a CSV, or a folder with one in it."),
    ],
    validation: Annotated[
        Path, typer.Option(metavar="PATH", help="Recordings that choose the best epoch, likewise.")
    ],
    weights: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder of the encoder's published weights.")
    ],
    runs: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of all runs.")] = Path("runs"),
    features: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder of encoder outputs, computed once.")
    ] = Path("features"),
    device: Annotated[str, typer.Option(help="Torch device to train on.")] = "cpu",
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processor threads.", show_default="all")
    ] = None,
) -> None:
    """Train a model on captioned recordings; a run that was interrupted goes on."""
    # Here and not at the top: `otoscribe --help` need not wait for torch, nor need it.
    from otoscribe.datasets.folder import CaptionedClip, read_pairs
    from otoscribe.model.encoders.base import load_encoder
    from otoscribe.text.vocabulary import Vocabulary
    from otoscribe.train.batches import Split
    from otoscribe.train.run import read_settings
    from otoscribe.train.store import Store
    from otoscribe.train.trainer import RuntimeSettings
    from otoscribe.train.trainer import train as train_model

    chosen = read_settings(_text(settings), settings)
    heard = read_pairs(clips)
    unheard = read_pairs(validation)
    words = [caption for clip in heard for caption in clip.captions]
    vocabulary = Vocabulary.from_captions(words, chosen.training.minimum_count)
    encoder = load_encoder(chosen.model.encoder, weights)
    store = Store(features, encoder, chosen.model.encoder.output)

    with terminal.quiet_libraries(), terminal.ProgressBar(len(heard) + len(unheard)) as bar:

        def split(part: list[CaptionedClip]) -> Split:
            encoded = [[vocabulary.encode(caption) for caption in clip.captions] for clip in part]
            return Split([store[clip.path] for clip in bar.counted(part)], encoded)

        training_split, validation_split = split(heard), split(unheard)

    run = train_model(
        chosen,
        vocabulary,
        training_split,
        validation_split,
        runs,
        RuntimeSettings(device=device, threads=threads),
        report=_say,
    )
    print(run)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"The settings in {path} cannot be read: {reason}. Name a JSON file.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"The settings in {path} are not UTF-8 text. Save them as JSON in UTF-8.") from error


def _say(epoch: "Epoch") -> None:
    print(
        f"epoch {epoch.epoch}: training loss {epoch.training_loss:.4f}, "
        f"validation loss {epoch.validation_loss:.4f}",
        flush=True,
    )
