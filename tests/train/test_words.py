"""Training with word vectors from files: what it prints and keeps, and that a run needs the files no more."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from otoscribe.cli.main import app
from otoscribe.errors import RunError, WeightsError
from otoscribe.train.coverage import LEAK
from otoscribe.train.experiment import Places, prepare
from otoscribe.train.history import read_log
from otoscribe.train.run import load_run
from otoscribe.train.settings import ExperimentSettings
from otoscribe.train.trainer import Experiment, train
from support.plain_metrics import plain_metrics  # noqa: F401
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
    assert record["leaky"] is False
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


@pytest.mark.parametrize("mode", ["prefix", "full"])
def test_a_run_knows_a_network_by_its_hash(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    run = train(prepared(places, name="bert", mode=mode), tmp_path / "runs", CPU)
    assert not [name for name in load_file(run / "model.safetensors") if name.startswith("words")]
    model, _, chosen = load_run(run, GOLDEN)
    assert chosen.model.words.is_resolved
    assert model.words.width == 16
    with pytest.raises(WeightsError, match=r"Type: otoscribe get bert"):
        load_run(run)
    other = tmp_path / "other"
    shutil.copytree(GOLDEN, other)
    pieces = (other / "vocab.txt").read_text("utf-8").split()
    place, another = pieces.index("low"), pieces.index("tone")
    pieces[place], pieces[another] = pieces[another], pieces[place]
    (other / "vocab.txt").write_text("\n".join(pieces) + "\n", "utf-8")
    with pytest.raises(WeightsError, match="not those that the settings name: their weights"):
        load_run(run, other)


def test_states_of_beginnings_train_as_the_words_themselves(places: Places, tmp_path: Path) -> None:
    experiment = prepared(places, name="bert")
    assert experiment.states is not None
    kept = train(experiment, tmp_path / "kept", CPU)
    assert experiment.states.path.is_file()
    computed = train(replace(experiment, states=None), tmp_path / "computed", CPU)
    for epoch, other in zip(read_log(kept / "log.csv"), read_log(computed / "log.csv"), strict=True):
        assert epoch.training_loss == pytest.approx(other.training_loss, abs=1e-4)
        assert epoch.validation_loss == pytest.approx(other.validation_loss, abs=1e-4)


def test_only_words_that_are_slow_are_kept(places: Places) -> None:
    kept = {mode: prepared(places, name="bert", mode=mode).states for mode in ("prefix", "static", "full")}
    assert [mode for mode, states in kept.items() if states is not None] == ["prefix"]
    assert prepared(places, name="glove").states is None


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


TOML = """
[model]
encoder = {{name = "{encoder}", weights = "formula"}}
adapter = {{name = "mlp", hidden = 8}}
words = {words}
decoder = {{d_model = 16, heads = 1, head_dim = 8, blocks = 1}}
[training]
maximum_epochs = 1
"""


def otoscribe(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def train_by_command(places: Places, words: str, *options: object) -> Result:
    Path("own.toml").write_text(TOML.format(encoder=MODEL["encoder"]["name"], words=words))
    tables = "--clips", places.training, "--validation", places.validation
    return otoscribe("train", "own.toml", *tables, *options)


def test_training_says_how_many_words_have_a_vector(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = train_by_command(places, '{name = "word2vec"}', "--words", GOLDEN)
    assert result.exit_code == 0, result.stderr
    first = result.stdout.splitlines()[0]
    assert re.fullmatch(r"word2vec has a vector of 1 of 12 words; 11 begin at random: a, .*, \.\.\.", first)
    result = train_by_command(places, '{name = "word2vec"}')
    assert result.exit_code == 1
    assert "Type: otoscribe get word2vec" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.usefixtures("plain_metrics")
@pytest.mark.parametrize("mode", ["prefix", "full"])
def test_what_rests_on_words_that_leak_is_marked(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.chdir(tmp_path)
    trained = train_by_command(places, f'{{name = "bert", mode = "{mode}"}}', "--words", GOLDEN)
    assert trained.exit_code == 0, trained.stderr
    run = trained.stdout.splitlines()[-1]
    evaluated = otoscribe("evaluate", run, places.validation, "-o", "out.csv", "--words", GOLDEN)
    assert evaluated.exit_code == 0, evaluated.stderr
    leaks = mode == "full"
    assert (LEAK in trained.stdout) is (LEAK in evaluated.stdout) is leaks
    options = ["-o", "out.csv", "--words", GOLDEN, "--format", "json"]
    assert json.loads(otoscribe("evaluate", run, places.validation, *options).stdout)["leaky"] is leaks
    assert json.loads((Path(run) / "words.json").read_text())["leaky"] is leaks
    if leaks:  # others are exported by other tests
        exported = otoscribe("export", run, "model", "--words", GOLDEN)
        assert exported.exit_code == 1
        assert "can be evaluated but not exported" in exported.stderr
