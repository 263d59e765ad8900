"""A study on a Ray cluster of three nodes, one of which is killed midway, is what one process gives."""

from pathlib import Path

import pytest

from otoscribe.spread.backends import in_this_process
from otoscribe.spread.ray_cluster import on_ray
from otoscribe.study.engine.opened import Where, open_study
from otoscribe.study.engine.runner import run_study
from otoscribe.study.engine.scoring import score_study
from otoscribe.study.engine.settings import read_study
from otoscribe.study.engine.state import State
from otoscribe.study.engine.work import Outcome
from support.three_nodes import needs_ray, three_nodes
from support.tiny_study import write_study

pytestmark = [needs_ray, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of Ray's own

FILES = ("model.safetensors", "log.csv", "captions.csv", "captioned", "done", "settings.json")


def test_a_node_is_lost_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_study(tmp_path)
    monkeypatch.chdir(tmp_path)
    settings = read_study("study.toml", seeds=3)
    serial = open_study(settings, Where(Path("serial")))
    run_study(serial, in_this_process, 1)
    score_study(serial)

    with three_nodes() as (address, lose):
        backend, workers = on_ray(address, 1)
        assert workers == 3
        study = open_study(settings, Where(Path("on ray")))

        def report(outcome: Outcome, done: int, total: int) -> None:
            if done == 2:
                assert lose() == 2

        outcomes = run_study(study, backend, workers, report=report)
        assert len(outcomes) == len(study.runs) == 12
        assert [outcome.problem for outcome in outcomes] == [""] * 12
        assert study.states() == [State.CAPTIONED] * 12
        assert sum("validation loss" in outcome.note for outcome in outcomes) >= 11
        assert score_study(study) == 12
    assert Path("on ray/scores.csv").read_bytes() == Path("serial/scores.csv").read_bytes()
    for run in serial.runs:
        for name in FILES:
            assert (study.folder_of(run) / name).read_bytes() == (serial.folder_of(run) / name).read_bytes()
