"""Groups of recordings → embeddings in the store, by any number of processes and machines."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from otoscribe.datasets.folder import CaptionedClip
from otoscribe.errors import RunError
from otoscribe.model.encoders.base import Encoder, load_encoder
from otoscribe.progress import Progress
from otoscribe.spread.backends import Backend, Lost
from otoscribe.spread.shard import grouped
from otoscribe.train.embed import embed, store_of
from otoscribe.train.settings import parse_settings
from otoscribe.train.store import Store
from otoscribe.train.trainer import RuntimeSettings, device_of

GROUPS = 8
"""For each worker: so few that the store has few shards, so many that none is idle for long at the end."""


@dataclass(frozen=True)
class Encoding:
    """How recordings are encoded, in any process."""

    settings: str
    """Of an experiment, as JSON: it may name classes of other people's modules."""
    weights: Path | None
    """As for `load_encoder`."""
    features: Path
    """Folder of all embeddings."""
    runtime: RuntimeSettings


def embed_groups(
    clips: Sequence[CaptionedClip],
    encoding: Encoding,
    backend: Backend,
    workers: int,
    progress: Progress | None = None,
) -> int:
    """Compute the embeddings that are not in the store, and add them.

    Args:
        clips: the recordings.
        encoding: how.
        backend: encodes groups of them.
        workers: how many of them at once, about.
        progress: called for every group, with recordings.

    Returns:
        How many were computed.

    Raises:
        AudioError: a recording cannot be read.
        RunError: an embedding cannot be stored, or whatever works on some recordings dies.
    """
    computed = done = 0
    lost: list[str] = []
    size = max(1, len(clips) // (GROUPS * workers))
    for group, result in backend(partial(_embedded, encoding), grouped(clips, size)):
        if isinstance(result, Lost):
            lost.append(result.reason)
            continue
        for note in result.notes:
            warnings.warn(note, stacklevel=2)
        computed += result.computed
        done += len(group)
        if progress:
            progress("encoding", done, len(clips))
    if lost:
        raise RunError(
            f"{len(clips) - done} of {len(clips)} recordings were not encoded: {lost[0]}. The same command "
            "goes on."
        )
    return computed


@dataclass(frozen=True)
class _Embedded:
    computed: int
    notes: Sequence[Warning | str]
    """What there was to warn of, which nobody would see where it was."""


def _embedded(encoding: Encoding, clips: Sequence[CaptionedClip]) -> _Embedded:
    encoder, store = _opened(encoding)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        computed = embed(clips, encoder, store)
    return _Embedded(computed, [warning.message for warning in caught])


@cache
def _opened(encoding: Encoding) -> tuple[Encoder, Store]:
    """Return what a worker process loads once."""
    settings = parse_settings(encoding.settings, "the command")
    device = device_of(encoding.runtime)
    encoder = load_encoder(settings.model.encoder, encoding.weights).to(device)
    return encoder, store_of(encoder, encoding.features, settings.data.precision)
