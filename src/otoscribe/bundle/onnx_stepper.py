"""The bundle's decoder as the stepper that `search.beam.search` drives, with its key/value cache."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otoscribe.bundle.bundle import Bundle, EncodedClip
from otoscribe.bundle.graphs import STEP, Cache, reordered
from otoscribe.search.stepper import Integers
from otoscribe.text.vocabulary import START

State = Cache[NDArray[Any]]


class OnnxStepper:
    """`search.stepper.Stepper` over step.onnx for clips of any lengths."""

    def __init__(self, bundle: Bundle, clips: Sequence[EncodedClip]) -> None:
        self._bundle = bundle
        self._clips = clips
        self._inputs = [port.name for port in STEP.of(bundle.stepper.sizes["layers"]).inputs]

    @property
    def clips(self) -> int:
        """How many clips are to be captioned."""
        return len(self._clips)

    def start(self) -> State:
        """Return the state before any word, one row per clip."""
        return self._bundle.cache(self._clips)

    def step(self, state: State, history: Integers) -> tuple[NDArray[np.float32], State]:
        """Read the newest word of every row; see `search.stepper.Stepper`."""
        log_probabilities, _, after = self.attend(state, history)
        return log_probabilities, after

    def attend(
        self, state: State, history: Integers
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], State]:
        """As `step`, and between its two results the attention to the memory, [clips, beam, places]."""
        inputs = dict(zip(self._inputs, (history, *state.flat()), strict=True))
        log_probabilities, attention, *after = self._bundle.stepper.run(inputs).values()
        keys, values = after[: len(after) // 2], after[len(after) // 2 :]
        return log_probabilities, attention, state._replace(keys=tuple(keys), values=tuple(values))

    def reorder(self, state: State, rows: Integers) -> State:
        """Pick rows; see `search.stepper.Stepper`."""
        return reordered(state, rows)


def attention_to(bundle: Bundle, clip: EncodedClip, tokens: Sequence[int]) -> NDArray[np.float32]:
    """Return from which places of a clip's memory each word of a caption was read.

    Args:
        bundle: the model.
        clip: from `Bundle.listen`.
        tokens: ids of the caption's words, without `START` and `END`.

    Returns:
        float32 [words, places], at least 0, adding up to 1 for every word: the mean over blocks and heads.
    """
    stepper = OnnxStepper(bundle, [clip])
    state = stepper.start()
    history = np.array([[[START, *tokens]]])
    rows = []
    for time in range(1, len(tokens) + 1):
        _, attention, state = stepper.attend(state, history[..., :time])
        rows.append(attention[0, 0])
    return np.stack(rows) if rows else np.zeros((0, clip.places), np.float32)
