"""The torch model as the stepper that `search.beam.search` drives."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from otoscribe.bundle.graphs import Cache, reordered
from otoscribe.model.caption_model import CaptionModel
from otoscribe.search.stepper import Integers


class TorchStepper:
    """`search.stepper.Stepper` over a model in evaluation mode.

    Nothing here is differentiated: make the memory under `torch.inference_mode()`, in which every step runs.

    Args:
        model: the model.
        keys: from `CaptionModel.remember`, [blocks, clips, places, heads, head_dim], as are the values.
        values: as the keys.
        mask: of the places, bool [clips, places], True for real ones; None means nothing is padded.
    """

    def __init__(self, model: CaptionModel, keys: Tensor, values: Tensor, mask: Tensor | None) -> None:
        self.model = model
        self.clips = keys.shape[1]
        self._start = model.decoder.begin(keys, values, mask)

    def start(self) -> Cache[Tensor]:
        """Return the state before any word, one row per clip."""
        return self._start

    def step(self, state: Cache[Tensor], history: Integers) -> tuple[NDArray[np.float32], Cache[Tensor]]:
        """Read the newest word of every row; see `search.stepper.Stepper`."""
        with torch.inference_mode():
            words = torch.from_numpy(history).to(state.memory_mask.device)
            log_probabilities, _, after = self.model.step(words, state)
        return log_probabilities.float().cpu().numpy(), after

    def reorder(self, state: Cache[Tensor], rows: Integers) -> Cache[Tensor]:
        """Pick rows; see `search.stepper.Stepper`."""
        return reordered(state, rows)
