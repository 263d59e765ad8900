"""`otoscribe embed SETTINGS TABLE...`: what training would compute of recordings, ahead of it."""

from pathlib import Path
from typing import Annotated

import typer

from otoscribe.cli import terminal
from otoscribe.cli.options import Changes, Device, Features, Gpus, Ray, Share, SkipMissing, Threads, Weights
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
    workers: Annotated[
        int,
        typer.Option(metavar="N", min=1, max=1024, help="Processes of this machine, which share the work."),
    ] = 1,
    shard: Share = None,
    ray: Ray = None,
    gpus: Gpus = 0.0,
) -> None:
    """Compute the encoder's output for recordings, once; start it twice, and the two share the work."""
    # Here and not at the top: `otoscribe --help` need not wait for torch, nor need it.
    from otoscribe.datasets.corpora.base import read_clips
    from otoscribe.model.encoders.base import load_encoder
    from otoscribe.spread.backends import in_processes
    from otoscribe.spread.shard import Shard
    from otoscribe.train.embed import embed as embed_clips
    from otoscribe.train.embed import store_of
    from otoscribe.train.embed_groups import Encoding, embed_groups
    from otoscribe.train.settings import read_settings
    from otoscribe.train.trainer import RuntimeSettings, device_of

    chosen = read_settings(settings, changes or ())
    share = None if shard is None else Shard.read(shard)
    if chosen.model.encoder.tuned:
        raise UsageError(
            "A tuned encoder changes at every step, so nothing can be computed ahead of training."
        )
    clips = [clip for table in tables for clip in read_clips(table, skip_missing)]
    clips = clips if share is None else share.share(clips)
    encoder = load_encoder(chosen.model.encoder, weights)
    store = store_of(encoder, features, chosen.data.precision)
    alone = ray is None and workers == 1
    runtime = RuntimeSettings(device=device, threads=threads if alone else threads or 1)
    if ray is not None:
        from otoscribe.spread.ray_cluster import on_ray

        backend, workers = on_ray(ray, threads or 1, gpus)
    else:
        backend = in_processes(workers)
    with terminal.quiet_libraries(), terminal.Bars() as bars:
        if alone:
            computed = embed_clips(clips, encoder.to(device_of(runtime)), store, bars.show)
        else:
            encoding = Encoding(chosen.model_dump_json(), weights, features, runtime)
            computed = embed_groups(clips, encoding, backend, workers, bars.show)
    print(terminal.printable(f"{store.folder}: {computed} of {len(clips)} recordings computed"))
