import csv
import errno
import json
from pathlib import Path
from typing import Any, NoReturn

import pytest
from typer.testing import CliRunner, Result

from otoscribe.cli.main import app
from otoscribe.cli.score import NAMES
from otoscribe.errors import MetricError, MetricWarning
from otoscribe.metrics import METRICS, evaluation

WITHOUT_JAVA = "bleu_1,bleu_2,bleu_3,bleu_4,rouge_l,cider_d"
REFERENCES = "file_name,caption_1,caption_2\na.wav,A dog barks loudly.,A dog is barking\nb.wav,Rain falls.,\n"
CANDIDATES = "file_name,caption\nb.wav,rain falls\na.wav,a dog is barking loudly\n"


@pytest.fixture
def tables(tmp_path: Path) -> tuple[str, str]:
    candidates, references = tmp_path / "candidates.csv", tmp_path / "references.csv"
    candidates.write_text(CANDIDATES, encoding="utf-8")
    references.write_text(REFERENCES, encoding="utf-8")
    return str(candidates), str(references)


def score(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["score", *map(str, arguments)])


def test_the_report_and_the_clips(tables: tuple[str, str], tmp_path: Path) -> None:
    output, per_clip = tmp_path / "scores", tmp_path / "clips.csv"
    ran = score(*tables, "--metrics", WITHOUT_JAVA, "--per-clip", per_clip)
    assert (ran.exit_code, ran.stderr) == (0, "")
    as_json = score(*tables, "--metrics", WITHOUT_JAVA, "--format", "json")
    assert (as_json.exit_code, as_json.stderr) == (0, "")
    document = json.loads(as_json.stdout)
    for printed, form in ((ran.stdout, "text"), (as_json.stdout, "json")):
        written = score(*tables, "--metrics", WITHOUT_JAVA, "--format", form, "-o", output)
        assert (written.exit_code, written.stdout, written.stderr) == (0, "", "")
        assert output.read_text("utf-8") == printed
    with per_clip.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file_name", *WITHOUT_JAVA.split(",")]
    assert [row["file_name"] for row in rows] == ["a.wav", "b.wav"]
    assert float(rows[1]["rouge_l"]) == pytest.approx(1)
    for metric in ("rouge_l", "cider_d"):
        mean = sum(float(row[metric]) for row in rows) / 2
        assert document["scores"][metric]["value"] == pytest.approx(mean, abs=1e-12)
        assert f"{metric}  {mean:.4f}" in ran.stdout
    assert document["missing"] == {}
    assert document["statistics"]["clips"] == 2
    assert document["statistics"]["vocabulary"] == 7


def test_everything_in_jsonl(tables: tuple[str, str], tmp_path: Path) -> None:
    expected = score(*tables, "--metrics", "bleu_1,cider_d").stdout
    candidates, references = tmp_path / "c.jsonl", tmp_path / "r.jsonl"
    candidates.write_text(
        '{"file_name": "a.wav", "caption": "a dog is barking loudly"}\n'
        '{"file_name": "b.wav", "caption": "rain falls"}\n'
    )
    references.write_text(
        '{"file_name": "b.wav", "captions": ["Rain falls."]}\n'
        '{"file_name": "a.wav", "captions": ["A dog barks loudly.", "A dog is barking"]}\n'
    )
    assert score(candidates, references, "--metrics", "bleu_1,cider_d").stdout == expected


def test_a_missing_metric_is_named_with_its_reason_and_has_empty_cells(
    tables: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def __init__(self, *_: object) -> None:
            raise MetricError("It is not installed.\x1b[31m")

    for metric in ("Spice", "Meteor", "Fense"):
        monkeypatch.setattr(evaluation, metric, Broken)
    per_clip = tmp_path / "clips.csv"
    ran = score(*tables, "--per-clip", per_clip)
    assert ran.exit_code == 0  # nobody asked for it by name
    assert "missing: meteor, spice, spider, spider_fl, fense. It is not installed.\\x1b[31m\n" in ran.stdout
    document = json.loads(score(*tables, "--format", "json").stdout)
    assert set(document["missing"]) == {"meteor", "spice", "spider", "spider_fl", "fense"}
    assert set(document["scores"]) == set(WITHOUT_JAVA.split(","))
    with per_clip.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file_name", *(name for name in METRICS if name != "spider_max")]
    assert {row["spider"] for row in rows} == {""}
    assert score(*tables, "--metrics", "cider_d,spider").exit_code == 1


def test_what_makes_scores_mean_little_is_said(tables: tuple[str, str], tmp_path: Path) -> None:
    swapped = score(tables[1], tables[1], "--metrics", "bleu_1")
    assert "are the two files swapped?" in swapped.stderr
    assert "3 candidates, 1 to 2 a clip; 3 references, 1 to 2 a clip" in swapped.stdout
    one = tmp_path / "one.csv"
    one.write_text("file_name,caption_1\na.wav,x\n")
    (tmp_path / "empty.csv").write_text("file_name,caption\na.wav,\n")
    alone = score(tmp_path / "empty.csv", one, "--metrics", "CIDEr_D")
    assert alone.stderr == "CIDEr-D of one recording alone is always 0, so SPIDEr is half of SPICE.\n"
    assert alone.stdout.endswith("distinct captions: 1; empty: 1\n")
    assert score(one, one, "--metrics", "spice").stdout.startswith("missing: spice.")


def test_an_interruption_says_that_it_goes_on(
    tables: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluation, "Spice", interrupted)
    ran = score(*tables, "--metrics", "spice")
    assert (ran.exit_code, ran.stdout) == (130, "")
    assert "the same command goes on from there" in ran.stderr


def test_a_warning_is_a_sentence_on_standard_error(
    tables: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import warnings

    class Noticed:
        def __init__(self, *_: object) -> None:
            warnings.warn("The cache is read-only.", MetricWarning, stacklevel=1)
            raise MetricError("Gone.")

    monkeypatch.setattr(evaluation, "Spice", Noticed)
    ran = score(*tables, "--metrics", "cider_d,spice")
    assert ran.stderr == "The cache is read-only.\n"


def test_the_help_names_every_metric() -> None:
    for metric in (*METRICS[0:1], *METRICS[3:]):
        assert metric in NAMES


def test_what_otoscribe_caption_writes_can_be_scored(tables: tuple[str, str], tmp_path: Path) -> None:
    candidates = tmp_path / "captions.csv"
    candidates.write_text(
        "file,caption,log_probability,confidence,seconds,rank,error\n"
        "folder/a.wav,a dog is barking loudly,-1,0.5,3,1,\nfolder/a.wav,a dog barks,-2,0.5,3,2,\n"
        "folder/b.wav,rain falls,-1,0.5,3,1,\n"
    )
    expected = score(*tables, "--metrics", "cider_d").stdout
    ran = score(candidates, tables[1], "--metrics", "cider_d").stdout
    assert ran == expected.replace("2 candidates, 1 a clip", "3 candidates, 1 to 2 a clip")


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ("file_name,caption\na.wav,x\n", ": 'b.wav'. Add candidates, or remove the references."),
        ("file_name,caption\nc.wav,x\n", "No candidate is about a recording of the references"),
        ("file_name,caption\na.wav,x\na.wav,y\nb.wav,x\n", "twice"),
        ("name,text\na.wav,x\n", "file_name"),
        ("file_name,caption\na.wav,two\x0blines\nb.wav,x\n", "A candidate of 'a.wav' cannot be scored"),
        ("file_name,caption\n", "lists no recordings"),
    ],
)
def test_bad_tables_end_in_one_sentence(tables: tuple[str, str], candidates: str, message: str) -> None:
    Path(tables[0]).write_text(candidates, encoding="utf-8")
    ran = score(*tables, "--metrics", "cider_d")
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert message in ran.stderr
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metrics", "spidr"], "Did you mean 'spider'?"),
        (["--metrics", ""], "There is no metric named ''"),
        (["--output", "folder/"], "is a folder"),
        (["--format", "csv"], "'csv' is not one of 'text', 'json'"),
        (["--per-clip", "CANDIDATES"], "is also read"),
        (["-o", "x.txt", "--per-clip", "x.txt"], "two files"),
    ],
)
def test_misuse(tables: tuple[str, str], arguments: list[Any], message: str) -> None:
    arguments = [tables[0] if argument == "CANDIDATES" else argument for argument in arguments]
    ran = score(*tables, *arguments)
    assert ran.exit_code == 2
    assert message in ran.stderr
    assert Path(tables[0]).read_text("utf-8") == CANDIDATES


def test_a_file_that_cannot_be_written_costs_no_scores(tables: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    ran = score(*tables, "--metrics", "cider_d", "--output", tmp_path / "file" / "scores.json")
    assert ran.exit_code != 0
    assert "cannot be written" in ran.stderr


def test_a_reader_that_went_away_costs_no_file(
    tables: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_: object) -> NoReturn:
        raise BrokenPipeError

    monkeypatch.setattr("otoscribe.cli.score._table", gone)
    per_clip = tmp_path / "clips.csv"
    ran = score(*tables, "--metrics", "cider_d", "--per-clip", per_clip)
    assert ran.exit_code == 141
    assert per_clip.exists()


def test_a_full_disk_costs_no_table(
    tables: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("otoscribe.cli.output.written_whole", full)
    ran = score(*tables, "--metrics", "cider_d", "--per-clip", tmp_path / "scores")
    assert ran.exit_code == 1
    assert "cannot be written: no space left on device" in ran.stderr
    assert "cider_d" in ran.stdout
