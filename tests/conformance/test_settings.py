"""Every setting of training has an effect; a new one fails here until it has a case."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from otoscribe.train.experiment import Places, prepare
from otoscribe.train.history import read_log
from otoscribe.train.settings import ExperimentSettings, TrainingSettings
from otoscribe.train.trainer import train
from support.tiny_run import CPU, MODEL
from support.tiny_tables import write_tables

BASE = {"batch_pairs": 4, "maximum_epochs": 3, "learning_rate": 0.01}
CASES: dict[str, tuple[dict[str, Any], Any]] = {
    "seed": ({}, 1),
    "learning_rate": ({}, 0.02),
    "beta1": ({}, 0.5),
    "beta2": ({}, 0.5),
    "epsilon": ({}, 0.01),
    "batch_pairs": ({}, 2),
    # Steps so long that the loss soon rises.
    "patience": ({"learning_rate": 3.0, "maximum_epochs": 5}, 1),
    "maximum_epochs": ({}, 2),
    "minimum_count": ({}, 2),
    "precision": ({}, "bfloat16"),
    "warmup_steps": ({}, 4),
    "schedule": ({}, "cosine"),
    "weight_decay": ({}, 0.1),
    "clip_norm": ({}, 0.1),
    "label_smoothing": ({}, 0.1),
}
"""What is set otherwise for a field's case, and the other value of the field."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    folder = tmp_path_factory.mktemp("tables")
    training, validation = write_tables(folder)
    return Places(training, validation, features=folder / "features")


Outcome = tuple[dict[str, bytes], list[str], int]
"""Weights, vocabulary and number of epochs of a run."""


def outcome(places: Places, runs: Path, training: dict[str, Any]) -> Outcome:
    """Train and return what came of it."""
    chosen = {"model": MODEL, "training": {**BASE, **training}}
    prepared = prepare(ExperimentSettings.model_validate_json(json.dumps(chosen)), places)
    run = train(prepared, runs, CPU)
    words = json.loads((run / "vocabulary.json").read_text())
    # Not the whole file, which names its settings, and so differs without an effect.
    weights = {name: array.tobytes() for name, array in load_file(run / "model.safetensors").items()}
    return weights, words, len(read_log(run / "log.csv"))


@pytest.fixture(scope="module")
def usual(places: Places, tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], Outcome]:
    """Return what gives the outcome of settings that cases share, trained twice to show that it stays."""
    known: dict[str, Outcome] = {}

    def of(training: dict[str, Any]) -> Outcome:
        key = json.dumps(training)
        if key not in known:
            known[key], again = (outcome(places, tmp_path_factory.mktemp("runs"), training) for _ in range(2))
            assert again == known[key]
        return known[key]

    return of


@pytest.mark.parametrize("field", TrainingSettings.model_fields)
def test_every_setting_of_training_has_an_effect(
    field: str, places: Places, usual: Callable[[dict[str, Any]], Outcome], tmp_path: Path
) -> None:
    others, value = CASES[field]
    before = usual(others)
    after = outcome(places, tmp_path / "after", {**others, field: value})
    assert after != before
    if field in ("patience", "maximum_epochs"):
        assert after[2] < before[2]
    elif field == "minimum_count":
        assert len(after[1]) < len(before[1])
    else:
        assert after[1:] == before[1:]
