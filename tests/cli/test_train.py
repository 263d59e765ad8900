"""`otoscribe train` and `otoscribe export`: what they print, where they write, and how they fail."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from otoscribe.cli.main import app

SETTINGS = {
    "model": {
        "encoder": {"name": "yamnet"},
        "adapter": {"name": "mlp", "hidden": 8},
        "words": {"name": "random", "width": 8},
        "decoder": {"d_model": 8, "heads": 2, "head_dim": 4, "blocks": 1},
    },
    "training": {"maximum_epochs": 2},
}


@pytest.fixture
def arguments(shared_data: Path, tmp_path: Path) -> list[str]:
    """Return a command line that trains on two recordings and validates on another."""
    recordings = sorted((shared_data / "pairs" / "audiocaps").glob("*.flac"))[:3]
    for part, chosen in (("train", recordings[:2]), ("validation", recordings[2:])):
        lines = ["file_name,caption_1", *(f"{recording},A dog barks" for recording in chosen)]
        (tmp_path / f"{part}.csv").write_text("\n".join(lines))
    (tmp_path / "settings.json").write_text(json.dumps(SETTINGS))
    given = {
        "--clips": tmp_path / "train.csv",
        "--validation": tmp_path / "validation.csv",
        "--weights": shared_data / "weights" / "yamnet.tflite",
        "--runs": tmp_path / "runs",
        "--features": tmp_path / "features",
    }
    options = [str(part) for pair in given.items() for part in pair]
    return ["train", str(tmp_path / "settings.json"), *options, "--threads", "1"]


def test_training_prints_every_epoch_and_the_run(arguments: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    first, second, run = result.stdout.splitlines()
    assert first.startswith("epoch 1: training loss ")
    assert second.startswith("epoch 2: training loss ")
    assert Path(run).parent == tmp_path / "runs"
    assert (Path(run) / "done").is_file()
    assert len(list((tmp_path / "features").rglob("*.safetensors"))) == 3
    again = CliRunner().invoke(app, arguments)
    assert again.stdout == result.stdout


def test_settings_that_cannot_be_used_are_misuse(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps(SETTINGS | {"speed": 1}))
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "settings.json cannot be used. speed: Extra inputs are not permitted." in result.stderr
    (tmp_path / "settings.json").unlink()
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "settings.json cannot be read" in result.stderr


def test_recordings_that_are_missing_fail(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("file_name,caption_1\nnowhere.wav,A dog barks\n")
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "is there: 'nowhere.wav'." in result.stderr


def test_exporting_what_is_no_run_fails_in_a_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["export", str(tmp_path), str(tmp_path / "bundle")])
    assert result.exit_code == 1
    assert "is not a training run: it has no settings.json." in result.stderr
    assert not (tmp_path / "bundle").exists()


def test_help_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; from otoscribe.cli.main import main; main(sys.argv[1:])"
    for command in ("train", "export"):
        result = subprocess.run(
            [sys.executable, "-c", code, command, "--help"], capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stderr
