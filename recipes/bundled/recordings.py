"""What the encoder makes of real recordings, kept so that it is computed once."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from otoscribe.audio import reading
from otoscribe.model.encoders.base import Encoder
from otoscribe.train.run import load_tensors, save_tensors


def encoder_outputs(encoder: Encoder, paths: Sequence[Path], cache: Path) -> dict[Path, Tensor]:
    """Return the output that the encoder's settings choose for each recording, float32 [frames, width].

    Args:
        encoder: frozen.
        paths: of the recordings, whose names differ.
        cache: file that keeps the outputs.
    """
    known: Mapping[str, Tensor] = load_tensors(cache)[0] if cache.is_file() else {}
    if set(known) != {path.name for path in paths}:
        rate = encoder.spec.sample_rate
        with torch.inference_mode():
            known = {
                path.name: encoder.features(torch.from_numpy(reading.load(path, rate).waveform)[None])[0]
                for path in paths
            }
        save_tensors(cache, known, {})
    return {path: known[path.name] for path in paths}
