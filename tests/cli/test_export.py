"""`otoscribe export`: how the command line reaches the export, which has tests of its own."""

import inspect
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from otoscribe.cli.export import export
from otoscribe.cli.main import app
from otoscribe.search.options import Decoding, Search

exporter = pytest.importorskip("otoscribe.train.export", reason="Export needs the learning half.")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Put something in the place of the export that writes what it was asked for down."""
    calls = []

    def planted(run: Path, bundle: Path, **options: Any) -> float:
        bundle.mkdir()
        (bundle / "step.onnx").write_bytes(b"x" * 1_500_000)
        calls.append((run, bundle, options))
        return 1.3e-6

    monkeypatch.setattr(exporter, "export", planted)
    return calls


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def test_the_model_decodes_as_was_asked_for(asked: list[Any], tmp_path: Path) -> None:
    bundle = tmp_path / "model\x1b"
    decoding = ["--beam", 7, "--maximum-words", 20, "--minimum-words", 5, "--no-repeat", 3]
    decoding += ["--length-normalisation", 0.5]
    done = run("runs/1", bundle, "--float16", "--weights", "folder", *decoding)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == (
        f"{tmp_path}/model\\x1b: 1.5 MB; log-probabilities differ by at most 1.3e-06 from the run's.\n"
    )
    search = Search(beam=7, maximum_words=20, minimum_words=5, length_normalisation=0.5, no_repeat=3)
    assert asked == [
        (
            Path("runs/1"),
            bundle,
            {"search": search, "float16": True, "weights": Path("folder"), "words": None},
        )
    ]


def test_without_options_it_decodes_as_any_model(asked: list[Any], tmp_path: Path) -> None:
    assert run("runs/1", tmp_path / "model").exit_code == 0
    assert asked[0][2] == {"search": Search(), "float16": False, "weights": None, "words": None}


def test_an_unfinished_run_is_said_to_be_one(asked: list[Any], tmp_path: Path) -> None:
    (tmp_path / "settings.json").touch()
    said = f"{tmp_path} is not finished; its best epoch so far is exported.\n"
    assert run(tmp_path, tmp_path / "one").stderr == said
    (tmp_path / "done").touch()
    assert run(tmp_path, tmp_path / "other").stderr == ""


def test_every_number_of_decoding_is_an_option() -> None:
    assert set(Decoding.model_fields) <= set(inspect.signature(export).parameters)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--beam", "0"], "beam must be a whole number from 1 to 1000, not 0."),
        (["--no-repeat", "-1"], "no_repeat must be a whole number from 0 to 1000, not -1."),
        (["--length-normalisation", "nan"], "length_normalisation must be a number from 0 to 10, not nan."),
        (["--minimum-words", "9", "--maximum-words", "8"], "minimum_words (9) exceeds maximum_words (8)"),
        (["--beam", "many"], "--beam"),
    ],
)
def test_decoding_that_cannot_be_is_misuse(
    asked: list[Any], tmp_path: Path, options: list[str], message: str
) -> None:
    done = run("runs/1", tmp_path / "model", *options)
    assert done.exit_code == 2
    assert message in done.stderr
    assert asked == []
