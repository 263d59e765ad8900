"""What search needs of a model: the log-probabilities of the next word, and a state that can be reordered."""

from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

State = TypeVar("State")
Floats = NDArray[np.float32] | NDArray[np.float64]
Integers = NDArray[np.int64]


class Stepper(Protocol[State]):
    """A model that continues captions of several clips at once; rows are grouped [clips, beam]."""

    @property
    def clips(self) -> int:
        """How many clips are to be captioned."""

    def start(self) -> State:
        """Return the state before any word, one row per clip: [clips, 1]."""

    def step(self, state: State, history: Integers) -> tuple[Floats, State]:
        """Read the newest word of every row.

        Args:
            state: after all words of `history` but the newest.
            history: ids of the words so far, [clips, beam, time], `START` first.

        Returns:
            The next word's log-probabilities, [clips, beam, vocabulary] (natural logarithm, at most 0), an
            array that the search may change; and the state after all of `history`.
        """

    def reorder(self, state: State, rows: Integers) -> State:
        """Return the state whose row [c, b] is the old flat row `rows[c, b]`, old clip * old beam + old b.

        The rows of one line belong to one old clip. A finished clip's line is missing, and lines may be
        longer or shorter than before. `search` leaves the call out where nothing would move.
        """
