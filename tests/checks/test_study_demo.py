"""The demonstration study, made smaller: from sounds that are made to a page that can be opened."""

from pathlib import Path

import pytest

from checks.study_demo import main
from otoscribe.study.scores import read_scores

SMALL = ("--seeds", "1", "--epochs", "1", "--variants", "1", "--workers", "1")


@pytest.mark.slow
def test_a_small_study_ends_in_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = main([str(tmp_path), *SMALL, "--quiet"])
    text = page.read_text(encoding="utf-8")
    assert "A demonstration: made-up sounds" in text
    assert "<svg" in text
    table = read_scores(tmp_path / "study" / "scores.csv")
    assert len(table.scores) == table.made_up == 16
    assert "Not a result: 16 of 16 runs used made-up weights" in capsys.readouterr().out
