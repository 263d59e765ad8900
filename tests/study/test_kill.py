"""A study whose processes are killed while they write is, once it is done, what an undisturbed one is."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from otoscribe.cli.main import app
from otoscribe.study.scores import read_scores
from support.tiny_study import STUDY, write_study

SHORT = STUDY.replace("seeds = 2", "seeds = 1").replace("[0.0, 0.5]", "[0.5]")
"""Of two runs."""
SAME = ("model.safetensors", "log.csv", "captions.csv", "captioned", "score.json", "done", "settings.json")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="Processes are copied, which Windows cannot."),
]


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


def output_of(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


@pytest.fixture
def undisturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "undisturbed"
    write_study(folder, SHORT)
    monkeypatch.chdir(folder)
    assert CliRunner().invoke(app, ["study", "run", "study.toml", "--workers", "1"]).exit_code == 0
    return folder / "studies" / "tiny"


def files_of(study: Path, runs: Sequence[str] = ()) -> dict[str, bytes]:
    """Return what has to be the same of some runs, or of all."""
    names = runs or [run.name for run in (study / "runs").iterdir()]
    found = {f"{run}/{name}": (study / "runs" / run / name).read_bytes() for run in names for name in SAME}
    return found | {"scores.csv": (study / "scores.csv").read_bytes()}


def test_twenty_kills_change_nothing(tmp_path: Path, undisturbed: Path) -> None:
    folder = tmp_path / "killed"
    write_study(folder, SHORT)
    output = output_of(started(folder, "-m", "support.killed_study", "2"))
    (kills,) = re.findall(r"killed (\d+) times", output)
    assert int(kills) >= 20
    study = folder / "studies" / "tiny"
    assert files_of(study) == files_of(undisturbed)
    for run in (study / "runs").iterdir():
        kept = {path.name for path in run.iterdir()}
        assert kept == {*SAME, "vocabulary.json", "words.json", "tensorboard", "lock"}


def test_workers_end_with_the_runner_that_is_killed(tmp_path: Path, undisturbed: Path) -> None:
    folder = tmp_path / "killed"
    write_study(folder, SHORT)
    command = ("-m", "otoscribe", "study", "run", "study.toml", "--workers", "2", "--seeds", "30")
    runner = started(folder, *command)
    assert runner.stdout is not None
    assert ": validation loss " in runner.stdout.readline()
    runner.kill()
    try:
        runner.communicate(timeout=30)  # ends when the workers have, who write to the same place
    finally:
        with suppress(ProcessLookupError):
            os.killpg(runner.pid, signal.SIGKILL)
    assert runner.returncode == -signal.SIGKILL
    study = folder / "studies" / "tiny"
    arguments = ["study", "run", "study.toml", "--workers", "1", "--folder", str(study)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    runs = [run.name for run in (undisturbed / "runs").iterdir()]
    assert files_of(study, runs) == files_of(undisturbed, runs)


def test_two_runners_at_once_share_the_work_and_both_see_it_done(tmp_path: Path, undisturbed: Path) -> None:
    folder = tmp_path / "shared"
    write_study(folder, SHORT)
    command = ("-m", "otoscribe", "study", "run", "study.toml", "--workers", "1")
    runners = [started(folder, *command) for _ in range(2)]
    outputs = list(map(output_of, runners))
    assert sum(output.count(": validation loss ") for output in outputs) == 2
    for output in outputs:
        assert "2 of 2 runs have a score" in output
    assert files_of(folder / "studies" / "tiny") == files_of(undisturbed)
    assert len(read_scores(folder / "studies" / "tiny" / "scores.csv").scores) == 2
