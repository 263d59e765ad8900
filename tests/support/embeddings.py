"""A store of invented embeddings: each is known by its number."""

import hashlib
from pathlib import Path

import numpy as np

from otoscribe.train.shards import Embedding, shards_in
from otoscribe.train.store import Store

DESCRIPTION = {"encoder": "one", "overlap": 0.5, "version": 1}
WIDTH = 4


def key(number: int) -> str:
    return hashlib.sha256(bytes([number])).hexdigest()


def made(number: int) -> Embedding:
    """Make an embedding that nobody takes for another, of a length of its own."""
    frames = 1 + number % 3
    values = np.random.default_rng(number).standard_normal((frames, WIDTH)).astype(np.float32)
    times = np.arange(frames)[:, None] * 0.48 + np.array([0.0, 0.96])
    return Embedding(values, times)


def equal(found: Embedding, expected: Embedding) -> bool:
    return bool((found.values == expected.values).all() and (found.times == expected.times).all())


def filled(folder: Path, numbers: range = range(3)) -> Store:
    with Store(folder, DESCRIPTION) as store:
        for number in numbers:
            store.add(key(number), made(number))
    return store


def the_shard(folder: Path) -> Path:
    (shard,) = (shard for recipe in folder.iterdir() for shard in shards_in(recipe))
    return shard


class KilledError(BaseException):
    """Stands for the end of a process."""
