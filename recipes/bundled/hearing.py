"""What the encoder makes of real recordings: the logits that calibration and channel are fitted on."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from otoscribe import audio
from otoscribe.learn.adapters.label_set import LIMIT
from otoscribe.learn.encoders import Encoder


def logits(encoder: Encoder, paths: Iterable[Path]) -> list[Tensor]:
    """Return the logits of each recording, float32 [frames, classes], cut to ± LIMIT."""
    rate = encoder.spec.front_end.sample_rate
    with torch.inference_mode():
        return [
            encoder(torch.from_numpy(audio.load(path, rate).waveform)[None])["logits"][0].clamp(-LIMIT, LIMIT)
            for path in paths
        ]


def unlabelled(data: Path) -> list[Path]:
    """List the real recordings that are not used for validation, in a fixed order."""
    return sorted((data / "audio").glob("*/*.ogg"))


def similarity(clips: Iterable[Tensor]) -> NDArray[np.float32]:
    """Return the correlation of every two classes' log mean scores over clips, [classes, classes]."""
    means = torch.stack([clip.sigmoid().mean(0) for clip in clips])
    return np.corrcoef((means + 1e-4).log().numpy().T).astype(np.float32)
