"""Random batches of stored embeddings, padded: our store beside HDF5 with a data set for each clip."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bench.compare import Peer, Result, Work, compare, cores
from bench.material import features
from otoscribe.train.shards import Embedding
from otoscribe.train.store import Store

CLIPS = 2000
BATCH = 51
"""Clips of a batch of 256 pairs with five captions each."""
BATCHES = 39
"""Of one round: every clip once."""
TARGET = 5.0


def results(threads: int, quick: bool) -> Iterator[Result]:
    """Measure one process that reads every clip once in random order; all files are in the system's cache."""
    torch.set_num_threads(threads)
    made = [clip.numpy() for clip in features(CLIPS)]
    keys = [hashlib.sha256(str(clip).encode()).hexdigest() for clip in range(CLIPS)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Store(folder / "store", {"encoder": "made"}) as writing, h5py.File(folder / "h5", "w") as file:
            for key, values in zip(keys, made, strict=True):
                writing.add(key, Embedding(values, np.zeros((len(values), 2))))
                file[key] = values
        store = Store(folder / "store", {"encoder": "made"})
        order = np.random.default_rng(0).permutation(CLIPS)
        with h5py.File(folder / "h5") as file:

            def opened_each_time(key: str) -> Tensor:
                with h5py.File(folder / "h5") as again:
                    return torch.from_numpy(again[key][()])

            def every(read: Callable[[str], Tensor]) -> Callable[[int], Tensor]:
                def run(part: int) -> Tensor:
                    for first in range(0, BATCH * BATCHES, BATCH):
                        batch = _batch(read, [keys[clip] for clip in order[first : first + BATCH]])
                    return batch

                return run

            ours = every(lambda key: torch.from_numpy(store[key].values))
            peers = [
                Peer("h5py, file kept open", every(lambda key: torch.from_numpy(file[key][()])), TARGET),
                Peer("h5py, file opened for each clip", every(opened_each_time), TARGET),
            ]

            def check() -> None:
                for clip, key in enumerate(keys):
                    np.testing.assert_array_equal(store[key].values, made[clip])
                for peer in peers:
                    np.testing.assert_array_equal(ours(0), peer.run(0))

            yield from compare(
                Work(
                    name=f"{BATCHES} random batches of {BATCH} stored clips",
                    setting=f"31 to 62 frames of 1,024, {cores(threads)}",
                    ours=ours,
                    peers=peers,
                    check=check,
                    rounds=2 if quick else 9,
                )
            )


def _batch(read: Callable[[str], Tensor], keys: Sequence[str]) -> Tensor:
    return pad_sequence([read(key) for key in keys], batch_first=True)
