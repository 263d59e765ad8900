"""Every preset that ships, as a person would try it: trained for an epoch by the command, then evaluated."""

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from otoscribe.cli.main import app
from otoscribe.train.settings import presets
from support.plain_metrics import plain_metrics  # noqa: F401
from support.tiny_tables import write_tables

# The whole architecture; only the weights that cannot be had here, and the end of training.
CHANGES = ("model.encoder.weights=formula", "training.maximum_epochs=1")


@pytest.mark.parametrize("name", presets())
@pytest.mark.usefixtures("plain_metrics")
def test_a_preset_trains_and_captions(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    training, validation = map(str, write_tables(tmp_path / "recordings"))
    given = ["--clips", training, "--validation", validation, "--threads", "1"]
    changes = [part for change in CHANGES for part in ("--set", change)]
    trained = CliRunner().invoke(app, ["train", name, *given, *changes])
    assert (trained.exit_code, trained.stderr) == (0, "")
    *_, epoch, _, run = trained.stdout.splitlines()
    assert epoch.startswith("epoch 1: training loss ")
    assert (Path(run) / "done").is_file()

    evaluated = CliRunner().invoke(app, ["evaluate", run, validation, "-o", "captions.csv", "--threads", "1"])
    assert evaluated.exit_code == 0, evaluated.stderr
    for file in ("captions.csv", "captions.greedy.csv"):
        with Path(file).open(newline="") as table:
            assert [row["file_name"] for row in csv.DictReader(table)] == ["other.wav", "last.wav"]


def test_help_names_every_preset() -> None:
    # Without spaces, because a line may end inside a name.
    shown = "".join(CliRunner().invoke(app, ["train", "--help"]).stdout.split())
    assert "paper" in presets()
    for name in presets():
        assert name in shown
