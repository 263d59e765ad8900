"""`otoscribe data check`: what it takes, what it prints, and what it returns."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from otoscribe.cli.main import app
from support.recordings import noise, write
from support.tiny_tables import write_tables


def check(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", "check", *map(str, arguments)])


def test_clean_data_return_0(tmp_path: Path) -> None:
    training, validation = write_tables(tmp_path)
    result = check(training, validation)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        f"{training}: 4 recordings, 7 captions, 0.00 h",
        f"{validation}: 2 recordings, 3 captions, 0.00 h",
        "Nothing is missing, broken, or there twice.",
    ]


def test_faults_return_1_and_are_named(tmp_path: Path) -> None:
    training, validation = write_tables(tmp_path)
    (tmp_path / "high.wav").unlink()
    (tmp_path / "low.wav").write_bytes(b"text")
    shutil.copy(tmp_path / "middle.wav", tmp_path / "other.wav")
    result = check(training, validation)
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout.splitlines() == [
        f"{training}: 4 recordings, 7 captions, 0.00 h",
        "  1 missing:",
        "    high.wav",
        "  1 cannot be decoded:",
        result.stdout.splitlines()[4],
        f"{validation}: 2 recordings, 3 captions, 0.00 h",
        "  1 sounds that are there more than once:",
        f"    {training} middle.wav = {validation} other.wav",
    ]
    assert "low.wav" in result.stdout.splitlines()[4]
    found = json.loads(check(training, validation, "--format", "json").stdout)
    assert found["clean"] is False
    assert found["parts"][0]["missing"] == ["high.wav"]
    assert found["duplicates"] == [
        [{"part": str(training), "name": "middle.wav"}, {"part": str(validation), "name": "other.wav"}]
    ]
    assert found["overlap"] == {}


def write_clotho(folder: Path) -> None:
    for number, (split, origin) in enumerate((("development", 7), ("validation", 8), ("evaluation", 7))):
        (folder / split).mkdir(parents=True)
        write(folder / split / f"{number}.wav", noise(0.1, 16000, seed=number))
        (folder / f"clotho_captions_{split}.csv").write_text(f"file_name,caption_1\n{number}.wav,Rain\n")
        (folder / f"clotho_metadata_{split}.csv").write_text(f"file_name,sound_id\n{number}.wav,{origin}\n")


def test_a_data_set_is_checked_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTOSCRIBE_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_clotho(tmp_path / "datasets" / "clotho")
    result = check("clotho")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[:2] == [
        "clotho:development: 1 recordings, 1 captions, 0.00 h",
        "  not the 3839 that were published",
    ]
    assert lines[-2:] == [
        "  1 sounds of Freesound in different parts:",
        "    7: clotho:development 0.wav = clotho:evaluation 2.wav",
    ]
    assert len(check("clotho:validation").stdout.splitlines()) == 2


def test_misuse_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments, code, message in (
        (
            ["clotho:test"],
            2,
            "There is no split of clotho named 'test'. Known: development, evaluation, valid",
        ),
        (["clotho"], 1, "Type: otoscribe get clotho."),
        (["nowhere"], 1, "There is no nowhere."),
        ([], 2, "Missing argument"),
    ):
        result = check(*arguments)
        assert result.exit_code == code
        assert message in result.stderr
