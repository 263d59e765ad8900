"""`otoscribe train`: what it prints, what it takes for what, and how it fails."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from otoscribe.cli.main import app
from otoscribe.text.vocabulary import Vocabulary
from otoscribe.train.run import load_run
from support.tiny_encoder import NAME, write_weights
from support.tiny_tables import TRAINING, write_table, write_tables

SETTINGS = f"""
[model]
encoder.name = "{NAME}"
adapter = {{name = "mlp", hidden = 8}}
words = {{name = "random", width = 8}}
decoder = {{d_model = 8, heads = 2, head_dim = 4, blocks = 1}}
[training]
maximum_epochs = 2
"""


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Return a command line that trains on four recordings and validates on two others."""
    training, validation = write_tables(tmp_path / "recordings")
    (tmp_path / "small.toml").write_text(SETTINGS)
    given = {
        "--clips": training,
        "--validation": validation,
        "--weights": write_weights(tmp_path / "weights", seed=0),
        "--runs": tmp_path / "runs",
        "--features": tmp_path / "features",
    }
    options = [str(part) for pair in given.items() for part in pair]
    return ["train", str(tmp_path / "small.toml"), *options, "--threads", "1"]


def run_of(arguments: list[str]) -> Path:
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return Path(result.stdout.splitlines()[-1])


def test_training_prints_every_epoch_and_the_run(arguments: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    first, sample, second, _, run = result.stdout.splitlines()
    assert re.fullmatch(r"epoch 1: training loss [\d.]+, validation loss [\d.]+, \d+ pairs/s", first)
    assert re.fullmatch(r'  "[a-z ]*", where somebody wrote "[a-z <>]+"', sample)
    assert second.startswith("epoch 2: training loss ")
    assert Path(run).parent == tmp_path / "runs"
    assert (Path(run) / "done").is_file()
    assert len(list((tmp_path / "features").glob("*/*.values"))) == 1
    again = CliRunner().invoke(app, arguments)
    losses = [line.rpartition(", ")[0] for line in (first, second)]
    assert again.stdout.splitlines() == [*losses, run]


def test_words_are_learned_from_clips_and_not_from_validation(arguments: list[str]) -> None:
    captions = [caption for row in TRAINING.values() for caption in row]
    assert load_run(run_of(arguments))[1] == Vocabulary.from_captions(captions)


def test_other_weights_and_other_recordings_are_another_run(arguments: list[str], tmp_path: Path) -> None:
    first = run_of(arguments)
    weights = write_weights(tmp_path / "others", seed=1)
    second = run_of([*arguments, "--weights", str(weights)])
    write_table(tmp_path / "recordings" / "training.csv", {"low.wav": ["a low tone"]})
    third = run_of(arguments)
    assert len({first, second, third}) == 3
    write_table(tmp_path / "recordings" / "training.csv", TRAINING)
    assert run_of(arguments) == first


def test_settings_are_changed_on_the_command_line(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(
        SETTINGS.replace("maximum_epochs = 2", "maximum_epochs = 1\nseed = 3")
    )
    changes = ["--set", "training.seed=3", "--set", "training.maximum_epochs=1"]
    changed = run_of([*arguments, *changes])
    assert changed == run_of(["train", str(tmp_path / "other.toml"), *arguments[2:]])
    assert changed != run_of(arguments)
    result = CliRunner().invoke(app, [*arguments, "--set", "training.speed=1"])
    assert result.exit_code == 2
    assert "small.toml with training.speed=1 cannot be used. training.speed: there is no" in result.stderr
    result = CliRunner().invoke(app, [*arguments, "--set", "training.maximum_epochs.x=1"])
    assert result.exit_code == 2
    assert "training.maximum_epochs is no table of settings" in result.stderr


def test_settings_that_cannot_be_used_are_misuse(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SETTINGS + "speed = 1\n")
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert (
        "small.toml cannot be used. training.speed: there is no such setting (did you mean" in result.stderr
    )
    (tmp_path / "small.toml").unlink()
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "small.toml cannot be read: no such file or directory. Name a TOML file." in result.stderr


def test_a_preset_is_known_by_its_name(arguments: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["train", "paper", *arguments[2:]])
    assert result.exit_code == 1
    # As far as the encoder of the paper, whose weights are not at hand.
    assert f"The weights of yamnet are not in {tmp_path / 'weights'}." in result.stderr
    result = CliRunner().invoke(app, ["train", "papers", *arguments[2:]])
    assert result.exit_code == 2
    assert "There is no preset named 'papers'. Did you mean 'paper'?" in result.stderr


def test_recordings_that_are_missing_fail_unless_they_may_be_skipped(
    arguments: list[str], tmp_path: Path
) -> None:
    for name in ("low.wav", "high.wav"):
        (tmp_path / "recordings" / name).unlink()
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "low.wav" in result.stderr
    assert "high.wav" in result.stderr
    assert "--skip-missing" in result.stderr
    result = CliRunner().invoke(app, [*arguments, "--skip-missing"])
    assert result.exit_code == 0
    assert "low.wav" in result.stderr
    assert (Path(result.stdout.splitlines()[-1]) / "done").is_file()


def test_a_folder_that_is_a_file_fails_in_a_sentence(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for option, words in (("--runs", "The run cannot be kept in"), ("--features", "cannot be stored in")):
        result = CliRunner().invoke(app, [*arguments, option, str(tmp_path / "file")])
        assert result.exit_code == 1
        assert words in result.stderr
        assert result.stderr.count("\n") == 1


def test_exporting_what_is_no_run_fails_in_a_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["export", str(tmp_path), str(tmp_path / "bundle")])
    assert result.exit_code == 1
    assert "is not a training run: it has no settings.json." in result.stderr
    assert not (tmp_path / "bundle").exists()


def test_help_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; from otoscribe.cli.main import main; main(sys.argv[1:])"
    for command in ("train", "evaluate", "export"):
        result = subprocess.run(
            [sys.executable, "-c", code, command, "--help"], capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stderr
