"""Train, evaluate, export, caption and score, as commands, from recordings that the test writes to scores."""

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from otoscribe.cli.main import app
from support.plain_metrics import plain_metrics  # noqa: F401
from support.tiny_encoder import NAME
from support.tiny_tables import HERTZ, tone, write_table

CAPTIONS = {
    "low.wav": ["a low hum drones on", "a low hum"],
    "middle.wav": ["somebody plays a clear note", "a clear note"],
    "high.wav": ["a kettle whistles", "a high whistle"],
}
SETTINGS = f"""
[model]
encoder = {{name = "{NAME}", weights = "formula"}}
adapter = {{name = "mlp", hidden = 16}}
words = {{name = "random", width = 16}}
decoder = {{d_model = 16, heads = 2, head_dim = 8, blocks = 1}}
[training]
learning_rate = 0.03
maximum_epochs = 25
"""


def otoscribe(*arguments: object) -> str:
    """Run a command, and return what it prints."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("plain_metrics")
def test_from_recordings_to_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in CAPTIONS:
        tone(Path(name), HERTZ[name])
    table = write_table(Path("table.csv"), CAPTIONS)
    Path("tiny.toml").write_text(SETTINGS)

    # Learned by heart, so validated on the same clips.
    data = "--clips", table, "--validation", table
    run = otoscribe("train", "tiny.toml", *data, "--threads", 1).splitlines()[-1]
    evaluated = otoscribe("evaluate", run, table, "-o", "by-run.csv")
    otoscribe("export", run, "model")
    # As a person would keep it: `otoscribe caption ... > captions.txt`.
    Path("captions.txt").write_text(otoscribe("caption", "--model", "model", *CAPTIONS))
    scored = otoscribe("score", "captions.txt", table)

    with Path("by-run.csv").open(newline="") as file:
        by_run = {row["file_name"]: row["caption"] for row in csv.DictReader(file)}
    by_model = dict(line.split(": ", 1) for line in Path("captions.txt").read_text().splitlines())
    for name, captions in CAPTIONS.items():
        assert by_run[name] in captions
        assert by_model[name].startswith(f"{by_run[name]} ")
    assert evaluated.endswith(f"\nbeam of 4, by-run.csv\n{scored}")
    bleu = next(line for line in scored.splitlines() if line.startswith("bleu_1 "))
    assert float(bleu.split()[1]) > 0.99
