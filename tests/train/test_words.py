"""Training with word vectors from files: what it prints and keeps, and that a run needs the files no more."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from otoscribe.cli.main import app
from otoscribe.errors import RunError
from otoscribe.train.experiment import Places, prepare
from otoscribe.train.run import load_run
from otoscribe.train.settings import ExperimentSettings
from otoscribe.train.trainer import Experiment, train
from support.tiny_run import CPU, MODEL
from support.tiny_tables import write_tables
from support.words import GOLDEN

TRAINING = {"batch_pairs": 4, "maximum_epochs": 2, "learning_rate": 0.01}


def settings(**words: object) -> ExperimentSettings:
    return ExperimentSettings.model_validate_json(
        json.dumps({"model": MODEL | {"words": words}, "training": TRAINING})
    )


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    folder = tmp_path_factory.mktemp("tables")
    training, validation = write_tables(folder)
    return Places(training, validation, words=GOLDEN, features=folder / "features")


def prepared(places: Places, **words: object) -> Experiment:
    return prepare(settings(**words), places)


@pytest.mark.parametrize("tuned", [True, False])
@pytest.mark.parametrize("name", ["cbow", "word2vec", "glove", "fasttext"])
def test_vectors_begin_as_found_and_move_only_if_they_are_tuned(
    places: Places, tmp_path: Path, name: str, tuned: bool
) -> None:
    experiment = prepared(places, name=name, tuned=tuned)
    run = train(experiment, tmp_path, CPU)
    beginning = experiment.beginning
    assert beginning is not None
    found, vectors = beginning.values["found"], beginning.values["vectors"]
    trained = load_file(run / "model.safetensors")["words.vectors"]
    assert torch.equal(trained[found], vectors[found]) is not tuned
    record = json.loads((run / "words.json").read_text())
    assert record["name"] == name
    assert record["words"] == len(experiment.vocabulary) - 4
    assert record["missing"] == list(beginning.missing)


def test_a_run_holds_the_vectors(places: Places, tmp_path: Path) -> None:
    run = train(prepared(places, name="glove", tuned=False), tmp_path, CPU)
    model, _, chosen = load_run(run)  # without the folder of the files
    assert torch.equal(
        model.words.state_dict()["vectors"], load_file(run / "model.safetensors")["words.vectors"]
    )
    assert chosen.model.words.is_resolved


def test_other_vectors_are_another_run(places: Places, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    lines = (GOLDEN / "glove.6B.300d.txt").read_text("utf-8").replace("in ", "low ", 1)
    (other / "glove.6B.300d.txt").write_text(lines, "utf-8")
    both = Places(places.training, places.validation, words=other, features=places.features)
    runs = {train(prepared(one, name="glove"), tmp_path / "runs", CPU) for one in (places, both, places)}
    assert len(runs) == 2


def test_a_run_whose_record_of_words_was_changed_does_not_go_on(places: Places, tmp_path: Path) -> None:
    run = train(prepared(places, name="glove"), tmp_path, CPU)
    (run / "words.json").write_text("{}")
    with pytest.raises(RunError, match=r"has another words\.json"):
        train(prepared(places, name="glove"), tmp_path, CPU)


def test_training_says_how_many_words_have_a_vector(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    encoder = MODEL["encoder"]
    Path("own.toml").write_text(
        f'[model.encoder]\nname = "{encoder["name"]}"\nweights = "formula"\n[model.adapter]\nname = "mlp"\n'
        '[model.words]\nname = "word2vec"\n[model.decoder]\nd_model = 8\nheads = 1\nhead_dim = 8\n'
        "[training]\nmaximum_epochs = 1\n"
    )
    tables = "--clips", str(places.training), "--validation", str(places.validation)
    result = CliRunner().invoke(app, ["train", "own.toml", *tables, "--words", str(GOLDEN)])
    assert result.exit_code == 0, result.stderr
    first = result.stdout.splitlines()[0]
    assert re.fullmatch(r"word2vec has a vector of 1 of 12 words; 11 begin at random: a, .*, \.\.\.", first)
    result = CliRunner().invoke(app, ["train", "own.toml", *tables])
    assert result.exit_code == 1
    assert "Type: otoscribe get word2vec" in result.stderr
    assert result.stderr.count("\n") == 1
