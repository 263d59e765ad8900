"""A tiny training run: invented features of five clips, their captions, and a model that trains at once."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from otoscribe.text.vocabulary import Vocabulary
from otoscribe.train.batches import Source, Split
from otoscribe.train.history import Epoch
from otoscribe.train.settings import ExperimentSettings
from otoscribe.train.trainer import Experiment, RuntimeSettings, train
from support import tiny_encoder

MODEL: dict[str, Any] = {
    "encoder": {"name": tiny_encoder.NAME, "weights": "formula"},
    "adapter": {"name": "mlp", "hidden": 8},
    "words": {"name": "random", "width": 12},
    "decoder": {"d_model": 16, "heads": 2, "head_dim": 8, "blocks": 1, "dropout": 0.2},
}
TRAINING: dict[str, Any] = {"batch_pairs": 4, "maximum_epochs": 4, "learning_rate": 0.01}
DATA = {"fingerprint": "0" * 64}
CAPTIONS = [["a dog barks", "dog barking"], ["rain falls on a roof"], ["a bird sings"], ["a horn"], ["wind"]]
VOCABULARY = Vocabulary.from_captions(caption for row in CAPTIONS for caption in row)
CPU = RuntimeSettings(threads=1)


def settings(*, dropout: float = 0.2, **training: Any) -> ExperimentSettings:
    model = {**MODEL, "decoder": {**MODEL["decoder"], "dropout": dropout}}
    chosen = {"data": DATA, "model": model, "training": {**TRAINING, **training}}
    return ExperimentSettings.model_validate_json(json.dumps(chosen))


def split(seed: int = 0) -> Split:
    generator = torch.Generator().manual_seed(seed)
    width = tiny_encoder.WIDTH
    features = [torch.rand(frames, width, generator=generator) for frames in (3, 1, 2, 3, 4)]
    return Split(features, [[VOCABULARY.encode(caption) for caption in row] for row in CAPTIONS])


def experiment(training: Source | None = None, validation: Source | None = None, **chosen: Any) -> Experiment:
    return Experiment(settings(**chosen), VOCABULARY, training or split(), validation or split(1))


def run_in(
    runs: Path,
    stop_after: int | None = None,
    report: Callable[[Epoch], None] = lambda epoch: None,
    **chosen: Any,
) -> Path:
    """Train; `stop_after` kills the run when it reports that epoch."""

    def stopping(epoch: Epoch) -> None:
        report(epoch)
        if epoch.epoch == stop_after:
            raise KeyboardInterrupt

    return train(experiment(**chosen), runs, CPU, stopping)
