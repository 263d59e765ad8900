"""Recordings and a frozen encoder → embeddings in the store, each computed once, also by many processes."""

import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from otoscribe.audio.pieces import pieces
from otoscribe.audio.reading import gather
from otoscribe.audio.waveform import Waveform
from otoscribe.datasets.folder import CaptionedClip
from otoscribe.errors import AudioError, AudioWarning, RunError, UsageError
from otoscribe.model.encoders.base import ENCODERS, Encoder, described
from otoscribe.progress import Progress
from otoscribe.train.shards import Embedding
from otoscribe.train.store import FORMAT, Kind, Store

HELD = 256_000_000
"""Bytes of embeddings that were used and stay in memory."""

READING = 2
"""Raised whenever reading gives another waveform for the same file; no embedding stored before is reused."""


def store_of(encoder: Encoder, folder: Path, kind: Kind = "float32") -> Store:
    """Return the store of what an encoder makes of recordings.

    Args:
        encoder: frozen.
        folder: of all embeddings.
        kind: how values are stored.

    Raises:
        RunError: the recipe on disk is damaged.
    """
    return _store_of(described(encoder), folder, kind)


def _store_of(description: Mapping[str, Any], folder: Path, kind: Kind) -> Store:
    return Store(folder, {**description, "reading": READING}, kind)


def is_outdated(recipe: Mapping[str, Any]) -> bool:
    """Tell whether an earlier version of the encoder, of reading or of the store made the embeddings."""
    if recipe.get("reading", 0) < READING or recipe.get("format", 0) < FORMAT:
        return True
    try:
        return bool(recipe["version"] < ENCODERS[recipe["name"]].spec.version)
    except (KeyError, UsageError):  # of an encoder that is not here
        return False


def embed(
    clips: Sequence[CaptionedClip], encoder: Encoder, store: Store, progress: Progress | None = None
) -> int:
    """Compute the embeddings that are not in the store, and add them.

    Args:
        clips: the recordings.
        encoder: what `store_of` was given; computes on the device where it is.
        store: sees what other processes add meanwhile.
        progress: called for every recording.

    Returns:
        How many were computed.

    Raises:
        AudioError: a recording cannot be read, or changed since its hash was taken.
        RunError: an embedding cannot be stored.
    """
    # In an order of its own, so that two processes seldom work on the same recording at the same time.
    order = random.Random().sample(clips, len(clips))
    computed = 0
    with store:
        for done, clip in enumerate(order, 1):
            if clip.sha256 not in store:
                embedding = _computed(clip.path, encoder)
                # The hash may be from hours ago, and what is stored under it is not computed again.
                if CaptionedClip(clip.path, ()).sha256 != clip.sha256:
                    raise AudioError(f"{clip.path} changed meanwhile. Type the same command again.")
                if clip.sha256 not in store:  # another process was as far
                    store.add(clip.sha256, embedding)
                    computed += 1
            if progress:
                progress("encoding", done, len(clips))
    return computed


def features_of(
    clips: Sequence[CaptionedClip],
    encoder: Encoder,
    folder: Path,
    kind: Kind = "float32",
    progress: Progress | None = None,
) -> Sequence[Tensor]:
    """Return the output of an encoder that its settings choose for each clip, [frames, width].

    The tensors are the files of the store, mapped: no more of them than `HELD` bytes is in memory.

    Args:
        clips: the recordings.
        encoder: frozen.
        folder: of all embeddings; what is missing is computed and added.
        kind: how values are stored, and returned.
        progress: called for every recording.

    Raises:
        AudioError: a recording cannot be read.
        RunError: an embedding cannot be stored.
    """
    store = store_of(encoder, folder, kind)
    embed(clips, encoder, store, progress)
    return _Stored(store, [clip.sha256 for clip in clips])


def kept_features(
    clips: Sequence[CaptionedClip], description: Mapping[str, Any], folder: Path, kind: Kind
) -> Sequence[Tensor] | None:
    """Return what `features_of` does, without the encoder; None: not all of it was computed yet.

    Args:
        clips: the recordings.
        description: of the encoder, see `described`.
        folder: of all embeddings.
        kind: how values are stored, and returned.
    """
    store = _store_of(description, folder, kind)
    keys = [clip.sha256 for clip in clips]
    return _Stored(store, keys) if all(key in store for key in keys) else None


class _Stored(Sequence[Tensor]):
    """Embeddings that are all in a store."""

    def __init__(self, store: Store, keys: Sequence[str]) -> None:
        self._store, self._keys = store, keys
        self._used = 0

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, place: int) -> Tensor: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Tensor]: ...
    def __getitem__(self, place: int | slice) -> Tensor | Sequence[Tensor]:
        if isinstance(place, slice):
            return _Stored(self._store, self._keys[place])
        features = torch.from_numpy(self._store[self._keys[place]].values)
        self._used += features.nbytes
        if self._used > HELD:
            self._store.release()
            self._used = 0
        return features


def _computed(recording: Path, encoder: Encoder) -> Embedding:
    def encoded(blocks: Iterator[Waveform]) -> list[tuple[Tensor, int]]:
        parts = []
        for piece in pieces(blocks, encoder.receptive_field, rate):
            waveform = torch.from_numpy(np.ascontiguousarray(piece.samples.T))
            parts.append(encoder.local_features(waveform.to(encoder.device))[:, piece.kept])
        return [(encoder.finish(torch.cat(parts, dim=1))[0], piece.start + len(piece.samples))]

    rate = encoder.spec.sample_rate
    with torch.no_grad():
        (gathered,) = gather(recording, rate, encoded)
    features, samples = gathered.result
    if gathered.notes:
        warnings.warn(f"{recording}: {'; '.join(gathered.notes)}.", AudioWarning, 3)
    if not features.isfinite().all():
        raise RunError(
            f"Of {recording}, the encoder makes numbers that are infinite or none at all. Take other "
            f"weights, or mend its code."
        )
    return Embedding(features.cpu().numpy(), np.array(encoder.times(samples)))
