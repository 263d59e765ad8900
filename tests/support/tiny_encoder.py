"""An encoder that takes no time, outside the package: settings name it `support.tiny_encoder:TinyEncoder`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from otoscribe.fetch.published import PublishedFile
from otoscribe.model.encoders.base import Encoder, EncoderSettings, EncoderSpec

NAME: Literal["support.tiny_encoder:TinyEncoder"] = "support.tiny_encoder:TinyEncoder"
SAMPLE_RATE = 8000
HOP = 800
WIDTH, CLASSES = 8, 3


class TinySettings(EncoderSettings):
    name: Literal["support.tiny_encoder:TinyEncoder"] = NAME


class TinyEncoder(Encoder):
    Settings = TinySettings
    spec = EncoderSpec(
        name="tiny",
        paper="none",
        licence="none",
        sample_rate=SAMPLE_RATE,
        outputs={"embeddings": WIDTH, "scores": CLASSES},
        version=1,
        # A size that no file has: weights of one's own in the same layout will do.
        files=((PublishedFile("tiny.npz", ("https://example.org/tiny.npz",), 1, f"sha256:{'0' * 64}"),),),
    )

    def __init__(self, settings: EncoderSettings) -> None:
        super().__init__(settings)
        self.layer = nn.Linear(HOP, WIDTH)
        self.classifier = nn.Linear(WIDTH, CLASSES)

    def forward(self, waveforms: Tensor) -> dict[str, Tensor]:
        frames = nn.functional.pad(waveforms, (0, HOP)).unfold(1, HOP, HOP)  # [clips, frames, HOP]
        embeddings = torch.tanh(self.layer(frames))
        return {"embeddings": embeddings, "scores": self.classifier(embeddings)}

    def times(self, samples: int) -> list[tuple[float, float]]:
        return [(frame * 0.1, frame * 0.1 + 0.1) for frame in range(samples // HOP + 1)]

    def state_of(self, files: Mapping[str, Path]) -> dict[str, Tensor]:
        with np.load(files["tiny.npz"]) as arrays:
            return {name: torch.from_numpy(values) for name, values in arrays.items()}


def write_weights(folder: Path, seed: int) -> Path:
    """Write random weights as the encoder publishes them."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {
        "layer.weight": (WIDTH, HOP),
        "layer.bias": (WIDTH,),
        "classifier.weight": (CLASSES, WIDTH),
        "classifier.bias": (CLASSES,),
    }
    np.savez(
        folder / "tiny.npz",
        **{name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()},
    )
    return folder
