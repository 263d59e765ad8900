"""`otoscribe evaluate`: captions that `otoscribe score` reads, and their scores."""

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from otoscribe.cli.main import app
from otoscribe.datasets.folder import CaptionedClip
from otoscribe.search.options import Search
from otoscribe.train.trainer import Experiment, train
from support.plain_metrics import plain_metrics  # noqa: F401
from support.tiny_encoder import write_weights
from support.tiny_run import CPU, VOCABULARY, settings, split
from support.tiny_tables import VALIDATION, tone, write_table

pytestmark = pytest.mark.usefixtures("plain_metrics")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Experiment(settings(maximum_epochs=1), VOCABULARY, split(), split(1))
    return train(made, tmp_path_factory.mktemp("runs"), CPU)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    for name in VALIDATION:
        tone(tmp_path / "sounds" / name, 300)
    return write_table(
        tmp_path / "table.csv", {f"sounds/{name}": captions for name, captions in VALIDATION.items()}
    )


def evaluated(run: Path, table: Path, *more: str) -> tuple[int, str, str]:
    folder = table.parent if table.is_file() else table
    given = ["--output", str(folder / "captions.txt"), "--features", str(run.parent / "features"), *more]
    result = CliRunner().invoke(app, ["evaluate", str(run), str(table), *given])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def by_beam(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each caption be the size of the beam that found it."""

    def caption(run: Path, clips: Sequence[CaptionedClip], *, options: Search, **others: Any) -> list[str]:
        return [f"a beam of {options.beam}"] * len(clips)

    monkeypatch.setattr("otoscribe.train.evaluate.evaluate", caption)


def rows_of(file: Path) -> list[list[str]]:
    with file.open(newline="") as opened:
        return list(csv.reader(opened))


@pytest.mark.slow
def test_captions_of_both_searches_are_written_and_scored(run: Path, table: Path) -> None:
    code, printed, told = evaluated(run, table)
    assert (code, told) == (0, "")
    expected = []
    for search, name in (("greedy search", "captions.greedy.txt"), ("beam of 4", "captions.txt")):
        file = table.parent / name
        head, *rows = rows_of(file)
        assert head == ["file_name", "caption"]
        assert [name for name, _ in rows] == ["sounds/other.wav", "sounds/last.wav"]
        scored = CliRunner().invoke(app, ["score", str(file), str(table)])
        assert scored.exit_code == 0
        expected.append(f"{search}, {file}\n{scored.stdout}")
    assert printed == "\n".join(expected)
    for words in ("bleu_1", "cider_d", "clips: 2; 2 candidates, 1 a clip; 3 references, 1 to 2 a clip"):
        assert words in printed
    assert "missing: meteor, spice, spider, spider_fl, fense. It is not installed.\n" in printed


@pytest.mark.usefixtures("by_beam")
def test_each_search_has_its_file(run: Path, table: Path) -> None:
    assert evaluated(run, table, "--beam", "3")[0] == 0
    for name, beam in (("captions.txt", 3), ("captions.greedy.txt", 1)):
        assert {caption for _, caption in rows_of(table.parent / name)[1:]} == {f"a beam of {beam}"}


@pytest.mark.usefixtures("by_beam")
def test_a_beam_of_one_is_greedy_search_alone(run: Path, table: Path) -> None:
    code, printed, _ = evaluated(run, table, "--beam", "1")
    assert code == 0
    assert printed.startswith(f"greedy search, {table.parent / 'captions.txt'}\n")
    assert printed.count("bleu_1 ") == 1
    assert not (table.parent / "captions.greedy.txt").exists()


def test_a_program_reads_one_object(run: Path, table: Path) -> None:
    code, printed, told = evaluated(run, table, "--format", "json")
    assert (code, told) == (0, "")
    found = json.loads(printed)
    assert found["leaky"] is False
    assert [search["beam"] for search in found["searches"]] == [1, 4]
    assert found["searches"][0]["missing"]["spice"] == "It is not installed."
    for search in found["searches"]:
        scored = CliRunner().invoke(app, ["score", search["file"], str(table), "--format", "json"])
        assert json.loads(scored.stdout).items() < search.items()


def test_a_split_of_a_published_data_set_is_evaluated(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTOSCRIBE_CACHE", str(tmp_path / "cache"))
    clotho = tmp_path / "cache" / "datasets" / "clotho"
    for name in VALIDATION:
        tone(clotho / "validation" / name, 300)
    table = write_table(clotho / "clotho_captions_validation.csv", VALIDATION)
    code, _, told = evaluated(run, Path("clotho:validation"), "-o", str(tmp_path / "captions.csv"))
    assert (code, told) == (0, "")
    assert [name for name, _ in rows_of(tmp_path / "captions.csv")[1:]] == list(VALIDATION)
    assert CliRunner().invoke(app, ["score", str(tmp_path / "captions.csv"), str(table)]).exit_code == 0
    code, _, told = evaluated(run, Path("clotho:validation"), "-o", str(table))
    assert code == 2
    assert "is also read, and would be overwritten" in told
    code, _, told = evaluated(run, Path("clotho:evaluating"))
    assert code == 2
    assert "There is no split of clotho named 'evaluating'. Did you mean 'evaluation'?" in told


def test_a_folder_stands_for_the_one_table_in_it(run: Path, table: Path) -> None:
    assert evaluated(run, table.parent) == evaluated(run, table)


def test_missing_recordings_are_left_out_of_the_scores_if_asked(run: Path, table: Path) -> None:
    (table.parent / "sounds" / "other.wav").unlink()
    code, printed, told = evaluated(run, table)
    assert (code, printed) == (1, "")
    assert "--skip-missing" in told
    assert not (table.parent / "captions.txt").exists()
    code, printed, told = evaluated(run, table, "--skip-missing")
    assert code == 0
    assert "other.wav" in told
    assert "clips: 1; 1 candidates" in printed


def test_what_cannot_be_meant_is_misuse(run: Path, table: Path) -> None:
    code, _, told = evaluated(run, table, "--beam", "0")
    assert code == 2
    assert "beam must be a whole number from 1 to 1000" in told
    for read in (table, table.parent):
        code, _, told = evaluated(run, read, "--output", str(table))
        assert code == 2
        assert "is also read, and would be overwritten" in told
    (table.parent / "captions.greedy.txt").write_bytes(b"RIFF\0")
    code, _, told = evaluated(run, table)
    assert code == 2
    assert "captions.greedy.txt holds something other than text" in told
    assert not (table.parent / "captions.txt").exists()
    (table.parent / "captions.greedy.txt").unlink()
    code, _, told = evaluated(run, table, "--device", "abacus")
    assert code == 2


def test_what_is_no_run_and_weights_that_are_missing_fail_in_a_sentence(
    run: Path, table: Path, tmp_path: Path
) -> None:
    code, _, told = evaluated(tmp_path / "nothing", table)
    assert code == 1
    assert "is not a training run" in told
    # The run's weights are made by a formula, so that a folder of others is not even looked at.
    code, _, _ = evaluated(run, table, "--weights", str(write_weights(tmp_path / "weights", seed=0)))
    assert code == 0


@pytest.mark.parametrize("name", ["vocabulary.json", "settings.json", "captions.csv", "deep/captions.csv"])
def test_nothing_is_written_into_the_run(run: Path, table: Path, name: str) -> None:
    before = {file.name: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    code, _, told = evaluated(run, table, "--output", str(run / name))
    assert code == 2
    assert "lies in the folder of the run and would damage it" in told
    assert {file.name: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before


def test_an_unfinished_run_is_said_to_be_one(run: Path, table: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    (copy / "done").unlink()
    code, printed, told = evaluated(copy, table)
    assert code == 0
    assert told == f"{copy} is not finished; its best epoch so far is evaluated.\n"
    assert printed == evaluated(run, table)[1]
