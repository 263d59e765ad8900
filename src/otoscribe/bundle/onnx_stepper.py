"""The bundle's decoder as the stepper that `search.search` drives, with its key/value cache."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from otoscribe.bundle.bundle import Bundle, Memory
from otoscribe.search.beam import Integers


@dataclass(frozen=True)
class StepState:
    """Everything that one decoder step needs besides the tokens."""

    keys: NDArray[np.float32]
    """[layers, clips, beam, heads, time, head_dim], as are the values."""
    values: NDArray[np.float32]
    memory_keys: NDArray[np.float32]
    """[layers, clips, frames, heads, head_dim], as are the values."""
    memory_values: NDArray[np.float32]
    memory_mask: NDArray[np.bool_]
    """[clips, frames]; True where a frame is the clip's own, False where it fills up."""


class OnnxStepper:
    """`search.Stepper` over step.onnx for clips of any lengths."""

    def __init__(self, bundle: Bundle, memories: list[Memory]) -> None:
        self._bundle = bundle
        self._memories = memories

    @property
    def clips(self) -> int:
        """How many clips are to be captioned."""
        return len(self._memories)

    def start(self) -> StepState:
        """Return the state before any token, one row per clip."""
        layers, _, _, heads, _, head_dim = next(
            i.shape for i in self._bundle.stepper.get_inputs() if i.name == "keys"
        )
        frames = np.array([memory.frames for memory in self._memories])
        empty = np.zeros((layers, self.clips, 1, heads, 0, head_dim), dtype=np.float32)
        return StepState(
            keys=empty,
            values=empty,
            memory_keys=_side_by_side([memory.keys for memory in self._memories]),
            memory_values=_side_by_side([memory.values for memory in self._memories]),
            memory_mask=np.arange(frames.max()) < frames[:, None],
        )

    def step(self, state: StepState, tokens: Integers) -> tuple[NDArray[np.float32], StepState]:
        """Feed one token per row, [clips, beam]; see `search.Stepper`."""
        log_probabilities, keys, values = self._bundle.step(
            {
                "tokens": tokens,
                "keys": state.keys,
                "values": state.values,
                "memory_keys": state.memory_keys,
                "memory_values": state.memory_values,
                "memory_mask": state.memory_mask,
            },
        )
        after = StepState(keys, values, state.memory_keys, state.memory_values, state.memory_mask)
        return log_probabilities, after

    def reorder(self, state: StepState, rows: Integers) -> StepState:
        """Return the state whose row [c, b] is the old flat row `rows[c, b]`; see `search.Stepper`."""
        _, clips, beam, *_ = state.keys.shape
        clip, slot = np.divmod(rows, beam)
        kept = clip[:, 0]
        memory = (state.memory_keys, state.memory_values, state.memory_mask)
        if not np.array_equal(kept, np.arange(clips)):
            mask = state.memory_mask[kept]
            # What only filled up clips that are done need not be computed on.
            frames = int(mask.sum(axis=1).max())
            memory = (
                state.memory_keys[:, kept, :frames],
                state.memory_values[:, kept, :frames],
                mask[:, :frames],
            )
        return StepState(state.keys[:, clip, slot], state.values[:, clip, slot], *memory)


def _side_by_side(arrays: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Stack [layers, frames, ...] of several clips to [layers, clips, most frames, ...], filled up with 0."""
    layers, _, *rest = arrays[0].shape
    stacked = np.zeros(
        (layers, len(arrays), max(array.shape[1] for array in arrays), *rest), dtype=np.float32
    )
    for clip, array in enumerate(arrays):
        stacked[:, clip, : array.shape[1]] = array
    return stacked
