"""Vectors of every beginning of a corpus's captions, computed once and kept, where computing them takes long.

The beginnings form a tree: START is node 0, and every other node is its parent's beginning with one word
more. Nodes are numbered level by level, so their keys, parent x vocabulary + word, ascend, and a search by
halves finds a child.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from otoscribe import files
from otoscribe.errors import RunError
from otoscribe.files import write_text
from otoscribe.model.words.base import WordEmbedding
from otoscribe.progress import Progress
from otoscribe.text.vocabulary import PAD, START

VERSION = 2
"""Raised whenever the same words and captions would give other vectors, so that none kept before are used."""
TOGETHER = 2048
"""Beginnings that are computed at once, and of which a killed process loses no more."""

Ids = NDArray[np.int64]


class PrefixStates:
    """Vectors of the last word of every beginning, float32 in one file, which is read where it lies.

    Args:
        folder: keeps the file.
        captions: ids of the words, without START and END, of all splits.
        size: of the vocabulary.
        weights: hash of what the words were begun with, and so of network and vocabulary.
        width: numbers per word.
    """

    def __init__(
        self, folder: Path, captions: Iterable[Sequence[int]], size: int, weights: str, width: int
    ) -> None:
        self._levels = list(levels_of(captions, size))
        self._keys = np.concatenate([keys for keys, _ in self._levels])
        self._size = size
        self._width = width
        content = hashlib.sha256(self._keys.astype("<i8").tobytes()).hexdigest()
        description = {"version": VERSION, "weights": weights, "captions": content, "size": size}
        key = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
        self.path = folder / "prefixes" / f"{key}.f32"

    def __len__(self) -> int:
        """Return how many beginnings there are, that of START alone not counted."""
        return len(self._keys)

    def __call__(self, history: Tensor) -> Tensor:
        """Return what the words give for int64 ids [rows, time], float32 [rows, time, width].

        Raises:
            ValueError: a caption is none of those that were computed.
        """
        ids = history.cpu().numpy()
        nodes = np.zeros_like(ids)
        for time in range(1, ids.shape[1]):
            keys = nodes[:, time - 1] * self._size + ids[:, time]
            places = self._keys.searchsorted(keys)
            known = self._keys[places.clip(max=len(self) - 1)] == keys
            if not (known | (ids[:, time] == PAD)).all():
                raise ValueError("A caption begins as none does whose vectors were computed.")
            # After its end, a caption has no beginnings: -1 has no children, as all keys are positive.
            nodes[:, time] = np.where(known, places + 1, -1)
        vectors = np.zeros((*ids.shape, self._width), np.float32)
        vectors[nodes > 0] = self._vectors[nodes[nodes > 0] - 1]
        return torch.from_numpy(vectors).to(history.device)

    def compute(self, words: WordEmbedding, device: torch.device, progress: Progress | None = None) -> None:
        """Compute what is not kept yet; what an interrupted call left is gone on with.

        Several processes may do so at once: they write the same bytes to the same places.

        Raises:
            RunError: the file cannot be written.
        """
        if self._is_whole():
            return
        part = self.path.with_name(self.path.name + ".part")
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            with part.open("r+b" if part.exists() else "w+b") as file:
                self._go_on(file, words, device, progress)
            checksum = files.sha256(part)
            part.replace(self.path)
            write_text(self._note, checksum + "\n")
        except OSError as error:
            if not self.path.is_file():  # else another process was faster
                reason = (error.strerror or str(error)).lower()
                raise RunError(
                    f"The words' vectors cannot be kept in {self.path.parent}: {reason}. Free space there or "
                    "choose another folder of features (--features FOLDER)."
                ) from error

    @property
    def _note(self) -> Path:
        """Holds the checksum, and is written last."""
        return self.path.with_suffix(".sha256")

    def _is_whole(self) -> bool:
        if not (self.path.is_file() and self._note.is_file()):
            return False
        if files.sha256(self.path) == self._note.read_text(encoding="utf-8").strip():
            return True
        warnings.warn(f"{self.path} is damaged and is computed again.", stacklevel=3)
        self.path.unlink()
        return False

    @cached_property
    def _vectors(self) -> NDArray[np.float32]:
        return np.memmap(self.path, "<f4", "r", shape=(len(self), self._width))

    def _go_on(
        self, file: IO[bytes], words: WordEmbedding, device: torch.device, progress: Progress | None
    ) -> None:
        row = 4 * self._width
        done = min(file.seek(0, os.SEEK_END) // row, len(self))
        for first, histories in self._batches(done):
            with torch.inference_mode():
                vectors = words.newest(torch.from_numpy(histories).to(device)).float().cpu().numpy()
            file.seek(row * first)
            file.write(vectors.astype("<f4").tobytes())
            file.flush()
            os.fsync(file.fileno())
            if progress:
                progress("embedding captions", first + len(histories), len(self))
        file.truncate(row * len(self))

    def _batches(self, done: int) -> Iterator[tuple[int, Ids]]:
        """Yield beginnings that are not all done, equally long ones, [rows, time], and how many come before.

        They are the same ones together whatever is done, as other neighbours would round otherwise.
        """
        before = 0
        for keys, histories in self._levels:
            for first in range(0, len(keys), TOGETHER):
                batch = histories[first : first + TOGETHER]
                if before + first + len(batch) > done:
                    yield before + first, batch
            before += len(keys)


def levels_of(captions: Iterable[Sequence[int]], size: int) -> Iterator[tuple[Ids, Ids]]:
    """Yield the keys of all beginnings of a length, and the beginnings, [rows, time], START first."""
    different = sorted({tuple(caption) for caption in captions if caption})
    parents = np.zeros(len(different), np.int64)
    histories = np.full((1, 1), START)
    first, following = 0, 1  # the first node of this level, and of the next one
    time = 0
    while different:
        words = np.array([caption[time] for caption in different])
        keys, places = np.unique(parents * size + words, return_inverse=True)
        histories = np.column_stack([histories[keys // size - first], keys % size])
        yield keys, histories
        first, following = following, following + len(keys)
        parents = first + places
        time += 1
        longer = [place for place, caption in enumerate(different) if len(caption) > time]
        parents, different = parents[longer], [different[place] for place in longer]
