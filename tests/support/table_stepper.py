"""A stepper without a model: the next word's log-probabilities come from a function of clip and prefix."""

from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from otoscribe.text.vocabulary import START

Prefix = tuple[int, ...]
# A state is every row's clip and prefix, so a step can be recomputed from nothing but the prefix.
State = list[list[tuple[int, Prefix]]]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return (logits - np.logaddexp.reduce(logits)).astype(np.float32)


def random_table(seed: int, vocabulary: int, sharpness: float = 2.0) -> Any:
    """Return log-probabilities that depend on the clip and the whole prefix, specials as likely as words."""

    def table(clip: int, prefix: Prefix) -> np.ndarray:
        return log_softmax(np.random.default_rng([seed, clip, *prefix]).normal(size=vocabulary) * sharpness)

    return table


@dataclass
class TableStepper:
    table: Any
    clip_names: list[int]
    rows_stepped: list[tuple[int, int]] = field(default_factory=list)

    @property
    def clips(self) -> int:
        return len(self.clip_names)

    def start(self) -> State:
        return [[(clip, ())] for clip in self.clip_names]

    def step(self, state: State, history: np.ndarray) -> tuple[np.ndarray, State]:
        assert history.dtype == np.int64
        assert history.shape[:2] == (len(state), len(state[0]))
        self.rows_stepped.append(history.shape[:2])
        new = [
            [(clip, tuple(words.tolist())) for (clip, _), words in zip(line, rows, strict=True)]
            for line, rows in zip(state, history, strict=True)
        ]
        for before, after in zip(chain(*state), chain(*new), strict=True):
            # The state belongs to the words that it is given again, and is one word behind.
            assert before[1] == after[1][:-1]
            assert after[1][0] == START
        return np.array([[self.table(clip, prefix[1:]) for clip, prefix in line] for line in new]), new

    def reorder(self, state: State, rows: np.ndarray) -> State:
        beam = len(state[0])
        flat = [row for line in state for row in line]
        for line in rows:
            assert len({row // beam for row in line}) == 1
        assert rows.size != len(flat) or not np.array_equal(rows.ravel(), np.arange(len(flat)))
        return [[flat[row] for row in line] for line in rows]
