"""`otoscribe study report` as a person types it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from otoscribe.cli.main import main
from otoscribe.cli.study.text import failure_lines
from support.made_up_study import paper_scores


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    path = tmp_path / "scores.csv"
    path.write_text(paper_scores(seeds=2).csv(), encoding="utf-8")
    return path


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["study", "report", *map(str, arguments)])
    return int(str(ended.value.code or 0))


def test_a_report_in_text(scores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--scores", scores, "-o", tmp_path / "out", "--title", "Ours") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["runs: 528", "settings: 264", "runs per setting: 2"]
    assert re.fullmatch(r"best mean SPIDEr: 0\.1\d{3} ± 0\.0\d{3}", lines[3])
    assert lines[-1] == f"report: {tmp_path / 'out' / 'report.html'}"
    assert "<h1>Ours</h1>" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_report_in_json(scores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    claim = "adapter: mlp > identity / encoder"
    assert run("--scores", scores, "-o", tmp_path / "out", "--format", "json", "--compare", claim) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["runs"], found["planned"], len(found["settings"])) == (528, None, 264)
    assert [(test["value"], test["pairs"]) for test in found["tests"]] == [
        *((encoder, 22) for encoder in ("coala", "openl3", "vggish", "yamnet"))
    ]
    assert found["best"] == found["settings"][0]
    assert found["best_settings"][0]["published"]["mean"] > 0.1


@pytest.mark.parametrize(
    ("claim", "parts"),
    [
        ("model:a/b>a/c", ("model", "a/b", "a/c", None)),
        ("model:a/b > c / words", ("model", "a/b", "c", "words")),
        ("model:a/b>a/c/words", ("model", "a/b", "a/c", "words")),
        ("model:c>/d/e/words", ("model", "c", "/d/e", "words")),
        ("words:x>y", ("words", "x", "y", None)),
    ],
)
def test_a_claim_may_name_a_value_with_a_slash(
    tmp_path: Path, claim: str, parts: tuple[str | None, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    scores = tmp_path / "scores.csv"
    settings = [(model, words) for model in ("a/b", "a/c", "c", "/d/e") for words in "xy"]
    rows = [f"{model},{words},0,0.{number}" for number, (model, words) in enumerate(settings, 1)]
    scores.write_text("\n".join(["model,words,seed,spider", *rows]))
    assert run("--scores", scores, "-o", tmp_path / "out", "--format", "json", "--compare", claim) == 0
    tests = json.loads(capsys.readouterr().out)["tests"]
    assert len(tests) == (2 if parts[-1] else 1)
    assert {tuple(test[name] for name in ("axis", "higher", "lower", "within")) for test in tests} == {parts}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--compare", "adapter"], 2, "--compare 'adapter' is no claim; write AXIS:HIGHER>LOWER"),
        (["--compare", "adapter:mlp>identity/"], 2, "is no claim; write AXIS:HIGHER>LOWER"),
        (["--compare", "adapter:mpl>identity"], 2, "Did you mean 'mlp'?"),
        (["--compare", "adapter:mlp>identity/encodr"], 2, "Did you mean 'encoder'?"),
        (["--metric", "fense"], 1, "has no metric 'fense'; behind seed stand spider"),
        (["--only", "encoder=yamnet"], 2, "--only is for a study: of --scores, all in the CSV are reported"),
        (["--seeds", "1", "--folder", "x"], 2, "--seeds is for a study"),
        (["--skip-missing"], 2, "--skip-missing is for a study"),
    ],
)
def test_misuse_is_refused_in_a_sentence(
    scores: Path,
    tmp_path: Path,
    arguments: list[str],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("--scores", scores, "-o", tmp_path / "out", *arguments) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_metric_of_a_study_is_not_chosen_by_its_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("paper", "--metric", "spice") == 2
    assert "--metric is for --scores" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["scores.csv", "settings.csv", "tests.csv"])
def test_a_report_does_not_replace_the_scores_it_is_about(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("encoder,seed,cider,spider\na,0,1,0.1\n", encoding="utf-8")
    assert run("--scores", name, "-o", "../" + tmp_path.name) == 2
    assert f"would replace {name}; name another folder" in capsys.readouterr().err
    (tmp_path / "link.csv").symlink_to(name)
    assert run("--scores", "link.csv", "-o", tmp_path) == 2
    assert {path.name for path in tmp_path.iterdir()} == {name, "link.csv"}


@pytest.mark.parametrize("absent", ["scipy", "matplotlib", "jinja2"])
def test_without_its_extra_it_says_what_to_install(scores: Path, tmp_path: Path, absent: str) -> None:
    program = (
        f"import sys; sys.modules[{absent!r}] = None\nfrom otoscribe.cli.main import main; main(sys.argv[1:])"
    )
    arguments = ["study", "report", "--scores", str(scores), "-o", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(r"otoscribe study needs \w+: pip install 'otoscribe\[study\]'\n", done.stderr)


def test_runs_that_failed_for_the_same_reason_are_one_line() -> None:
    failures = [{"run": f"runs/{name}", "reason": f"OSError: {name[0]}"} for name in ("a1", "b1", "a2", "a3")]
    assert list(failure_lines(failures)) == [
        "failed: runs/a1 and 2 more: OSError: a",
        "failed: runs/b1: OSError: b",
    ]
