"""The plan of a study: its counts, what is missing and what brings it, and a time from measured steps."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from otoscribe.cli.main import app
from otoscribe.study.engine import timing
from otoscribe.study.engine.grid import settings_of
from otoscribe.study.engine.settings import read_study
from otoscribe.study.engine.timing import CLOTHO, EPOCHS, timed
from otoscribe.train.trainer import Experiment, RuntimeSettings
from support.tiny_study import STUDY, write_study


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, which holds a study."""
    write_study(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def text_of(*options: str) -> str:
    result = CliRunner().invoke(app, ["study", "plan", *options])
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def plan(*options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text_of(*options, "--format", "json"))
    return found


def test_the_papers_plan_names_what_is_missing_and_the_command_that_brings_it(folder: Path) -> None:
    found = plan("paper", "--measure", "0")
    assert (found["settings"], found["seeds"], found["runs"], found["to_do"]) == (264, 10, 2640, 2640)
    assert found["states"] is None
    assert found["time"] is None
    missing = {one["what"]: (one["runs"], one["command"]) for one in found["missing"]}
    assert missing == {
        **{
            f"{split} data": (2640, "otoscribe get clotho")
            for split in ("training", "validation", "evaluation")
        },
        **{
            f"encoder {name}": (660, f"otoscribe get {name}")
            for name in ("vggish", "yamnet", "openl3", "coala")
        },
        **{f"words {name}": (480, f"otoscribe get {name}") for name in ("word2vec", "glove", "fasttext")},
        "words bert": (240, "otoscribe get bert"),
    }
    assert found["metric"]["name"] == "spider"
    assert "otoscribe get" in found["metric"]["lacks"] or "pip install" in found["metric"]["lacks"]
    text = text_of("paper", "--measure", "0")
    assert text.startswith("paper: 264 settings x 10 seeds = 2640 runs\n")
    assert "missing for 660 runs: encoder vggish. The weights of vggish are not in" in text


def test_a_plan_counts_what_is_done(folder: Path) -> None:
    study = ["study.toml", "--measure", "0"]
    assert plan(*study)["to_do"] == 8
    CliRunner().invoke(app, ["study", "run", "study.toml", "--workers", "1", "--seeds", "1"])
    found = plan(*study)
    assert (found["to_do"], found["states"]["captioned"], found["states"]["nothing"]) == (4, 4, 4)
    assert "done: 4, to do: 4" in text_of(*study)
    # Of runs that are done, the epochs are known: two, and not those that are assumed.
    assert plan("study.toml", "--measure", "1")["time"]["epochs_assumed"] == 2
    assert plan(*study, "--seeds", "1")["time"] is None


def test_a_time_is_steps_times_epochs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {"identity": 1.0, "mlp": 3.0}
    monkeypatch.setattr(timing, "_step", lambda settings, *rest: seconds[settings.model.adapter.name])
    Path("base.toml").write_text(
        Path("base.toml").read_text().replace("maximum_epochs = 2", "batch_pairs = 5")
    )
    settings = [one.experiment for one in settings_of(read_study("study.toml"))]
    found = timed(settings, CLOTHO, RuntimeSettings(), 10.0)
    steps = (CLOTHO.pairs + CLOTHO.validation_pairs / 3) / 5
    assert found.seconds == pytest.approx([EPOCHS * steps * step for step in (1.0, 3.0, 1.0, 3.0)])
    assert (found.step, found.shapes, found.measured, found.epochs) == (2.0, 4, 4, EPOCHS)
    guessed = timed(settings, CLOTHO, RuntimeSettings(), 0.0, epochs=4)
    assert (guessed.measured, guessed.epochs) == (1, 4)
    assert len(set(guessed.seconds)) == 1


@pytest.mark.parametrize(("pairs", "captions"), [(256, 5), (8, 5), (3, 5), (256, 1)])
def test_steps_are_measured_at_their_size(
    folder: Path, monkeypatch: pytest.MonkeyPatch, pairs: int, captions: int
) -> None:
    measured: list[int] = []

    def train(experiment: Experiment, *rest: Any, progress: Any) -> None:
        measured.extend(batch.pairs for batch in experiment.training.training_batches(pairs, 0, 1))
        progress("training", 1, 2)
        progress("training", 2, 2)

    monkeypatch.setattr(timing, "train", train)
    settings = settings_of(read_study("study.toml", changes=[f"training.batch_pairs={pairs}"]))
    sizes = replace(CLOTHO, pairs=captions * CLOTHO.clips)
    timed([settings[0].experiment], sizes, RuntimeSettings(), 0.0)
    assert len(measured) == timing.STEPS
    assert max(measured) > pairs - captions


def test_runs_that_are_trained_take_no_time_and_a_run_takes_its_own_on_any_number_of_workers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "_step", lambda *arguments: 3.0)
    monkeypatch.setattr("otoscribe.cli.study.plan.cores", lambda: 4)
    CliRunner().invoke(app, ["study", "run", "study.toml", "--workers", "1", "--seeds", "1"])
    Path("study.toml").write_text(STUDY.replace("beam = 2", "beam = 1"))
    assert plan("study.toml", "--seeds", "1")["to_do"] == 4
    assert plan("study.toml", "--seeds", "1")["time"] is None
    assert plan("study.toml")["to_do"] == 8
    time = plan("study.toml", "--seeds", "2")["time"]
    assert time["worker_seconds"] == pytest.approx(4 * time["run_seconds"])
    assert time["seconds"] == pytest.approx(time["run_seconds"])
    time = plan("study.toml", "--seeds", "2", "--only", "adapter=mlp", "--only", "overlap=0.5")["time"]
    assert time["seconds"] == time["run_seconds"] == time["worker_seconds"]


def test_steps_are_measured_and_leave_nothing_behind(folder: Path) -> None:
    found = plan("study.toml", "--measure", "60")["time"]
    assert (found["shapes"], found["shapes_measured"], found["epochs_assumed"]) == (4, 4, 2)
    assert 0 < found["step_seconds"] < 10
    assert found["worker_seconds"] == pytest.approx(8 * found["run_seconds"])
    assert {path.name for path in folder.iterdir()} == {"recordings", "base.toml", "study.toml", "studies"}
    assert "measured: 4 of 4 shapes of model" in text_of("study.toml", "--measure", "60")
