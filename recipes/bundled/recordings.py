"""What encoders make of real recordings: what calibration and channel are fitted on."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from otoscribe.audio import reading
from otoscribe.model.adapters.label_set import LIMIT
from otoscribe.model.encoders.base import Encoder


def encoder_outputs(encoder: Encoder, paths: Iterable[Path]) -> list[Tensor]:
    """Return the output that the encoder's settings choose for each recording, float32 [frames, width]."""
    rate = encoder.spec.sample_rate
    with torch.inference_mode():
        return [
            encoder.features(torch.from_numpy(reading.load(path, rate).waveform)[None])[0] for path in paths
        ]


def unlabelled(data: Path) -> list[Path]:
    """List the recordings of ESC-10, which may be used for more than research, in a fixed order."""
    return sorted((data / "audio" / "esc10").glob("*.ogg"))


def class_similarity(logits: Iterable[Tensor]) -> NDArray[np.float32]:
    """Return the correlation of every two classes' log mean scores over clips' logits, [classes, classes]."""
    means = torch.stack([clip.clamp(-LIMIT, LIMIT).sigmoid().mean(0) for clip in logits])
    similarity: NDArray[np.float32] = np.corrcoef((means + 1e-4).log().numpy().T).astype(np.float32)
    return similarity
