"""`otoscribe embed SETTINGS TABLE...`: what training would compute of recordings, ahead of it."""

from pathlib import Path
from typing import Annotated

import typer

from otoscribe.cli import terminal
from otoscribe.cli.options import Changes, Device, Features, SkipMissing, Threads, Weights
from otoscribe.errors import UsageError


def embed(
    settings: Annotated[
        str,
        typer.Argument(metavar="SETTINGS", help="A preset or a TOML file, as for `otoscribe train`."),
    ],
    tables: Annotated[
        list[Path],
        typer.Argument(
            metavar="TABLE...",
            help="Recordings: CSVs, folders with one in each, or splits as clotho:development.",
        ),
    ],
    changes: Changes = None,
    weights: Weights = None,
    skip_missing: SkipMissing = False,
    features: Features = Path("features"),
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Compute the encoder's output for recordings, once; start it twice, and the two share the work."""
    # Here and not at the top: `otoscribe --help` need not wait for torch, nor need it.
    from otoscribe.datasets.corpora.base import read_clips
    from otoscribe.model.encoders.base import load_encoder
    from otoscribe.train.embed import embed as embed_clips
    from otoscribe.train.embed import store_of
    from otoscribe.train.settings import read_settings
    from otoscribe.train.trainer import RuntimeSettings, device_of

    chosen = read_settings(settings, changes or ())
    if chosen.model.encoder.tuned:
        raise UsageError(
            "A tuned encoder changes at every step, so nothing can be computed ahead of training."
        )
    where = device_of(RuntimeSettings(device=device, threads=threads))
    clips = [clip for table in tables for clip in read_clips(table, skip_missing)]
    encoder = load_encoder(chosen.model.encoder, weights).to(where)
    store = store_of(encoder, features, chosen.data.precision)
    with terminal.quiet_libraries(), terminal.Bars() as bars:
        computed = embed_clips(clips, encoder, store, bars.show)
    print(terminal.printable(f"{store.folder}: {computed} of {len(clips)} recordings computed"))
