"""A study of tiny runs, from the command to the table of scores, in one process: nothing is done twice."""

import json
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from otoscribe.cli.main import app
from otoscribe.model.encoders import base
from otoscribe.settings import run_id
from otoscribe.spread.shard import Shard
from otoscribe.study.engine import reported, work
from otoscribe.study.engine.opened import Where, open_study
from otoscribe.study.engine.reported import report_of
from otoscribe.study.engine.settings import read_study
from otoscribe.study.engine.state import State, last_line, lock_of, write_captions
from otoscribe.study.scores import read_scores
from otoscribe.text.tables import read_candidates
from otoscribe.train import experiment, trainer
from otoscribe.train.experiment import Places, prepare
from otoscribe.train.run import load_run
from otoscribe.train.settings import read_settings
from support.tiny_encoder import write_weights
from support.tiny_study import STUDY, write_study
from support.tiny_tables import TRAINING, tone, write_table

OVERLAPS, ADAPTERS = ("0.0", "0.5"), ("identity", "mlp")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, which holds a study."""
    write_study(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*options: str, code: int = 0, command: str = "run") -> str:
    workers = ("--workers", "1") if command == "run" else ()
    result = CliRunner().invoke(app, ["study", command, "study.toml", *workers, *options])
    assert (result.exit_code, result.exception and repr(result.exception)) in (
        (code, None),
        (code, f"SystemExit({code})"),
    ), result.output
    return result.stdout


def status(*options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("--format", "json", *options, command="status"))
    return found


def runs() -> dict[str, Path]:
    return {path.name: path for path in Path("studies/tiny/runs").iterdir()}


def finished(text: str) -> int:
    return text.count(": validation loss ")


def test_a_study_is_trained_captioned_and_scored(folder: Path) -> None:
    assert status()["states"] == {"nothing": 8, "begun": 0, "trained": 0, "captioned": 0, "failed": 0}
    text = run()
    assert finished(text) == 8
    assert text.splitlines()[-1] == "8 of 8 runs have a score: studies/tiny/scores.csv"
    assert status()["states"]["captioned"] == 8
    table = read_scores(Path("studies/tiny/scores.csv"))
    assert (table.axes, table.metric) == (("overlap", "adapter"), "cider_d")
    expected = [((overlap, adapter), seed) for overlap in OVERLAPS for adapter in ADAPTERS for seed in (0, 1)]
    assert [(score.setting, score.seed) for score in table.scores] == expected
    assert table.made_up == 8
    assert len({score.value for score in table.scores}) > 2


def test_a_run_is_what_training_alone_gives_and_its_captions_those_of_its_model(folder: Path) -> None:
    words = "model.words.name=cbow"  # whose first vectors are learned before
    run("--only", "overlap=0.5", "--set", words, "--add", "model.words.width=8,6")
    chosen = ["model.encoder.overlap=0.5", "model.adapter.name=mlp", words, "model.words.width=6"]
    settings = read_settings("base.toml", [*chosen, "training.seed=1"])
    places = Places(
        Path("recordings/training.csv"), Path("recordings/validation.csv"), features=Path("other")
    )
    alone = prepare(settings, places)
    trained = trainer.train(alone, Path("alone"), trainer.RuntimeSettings(threads=1))
    ours = runs()[run_id(alone.settings)]
    for name in ("model.safetensors", "log.csv", "settings.json", "vocabulary.json"):
        assert (ours / name).read_bytes() == (trained / name).read_bytes(), name
    model, vocabulary, _ = load_run(ours)
    found = work.captions_of(model, vocabulary, alone.validation.features, read_study("study.toml").search)  # type: ignore[attr-defined]
    lines = (ours / "captions.csv").read_text().splitlines()
    assert lines == [
        "file_name,caption",
        *(f"{name},{caption}" for name, caption in zip(("other.wav", "last.wav"), found, strict=True)),
    ]


def test_what_is_done_is_not_done_again_and_more_seeds_are(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("--only", "adapter=mlp", "--seeds", "1")
    before = Path("studies/tiny/scores.csv").read_text()
    times = {path: path.stat().st_mtime_ns for path in Path("studies").rglob("*") if path.name != "lock"}
    monkeypatch.setattr(work, "train", None)
    assert finished(run("--only", "adapter=mlp", "--seeds", "1")) == 0
    assert Path("studies/tiny/scores.csv").read_text() == before
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert finished(run("--only", "adapter=mlp", "--seeds", "3")) == 4
    after = {path: path.stat().st_mtime_ns for path in times if "runs" in path.parts and path.is_file()}
    assert after == {path: times[path] for path in after}


def test_an_encoder_is_loaded_once_for_all_its_runs_and_recordings_encoded_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[float] = []
    encoded: list[int] = []
    load, embed = base.load_encoder, experiment.features_of

    def counted_load(settings: Any, *rest: Any) -> Any:
        loaded.append(settings.overlap)
        return load(settings, *rest)

    def counted_features(clips: Any, *rest: Any) -> Any:
        encoded.append(len(clips))
        return embed(clips, *rest)

    monkeypatch.setattr(experiment, "load_encoder", counted_load)
    monkeypatch.setattr(experiment, "features_of", counted_features)
    run("--only", "adapter=mlp")
    # Once to know its weights, and once to encode: there are two of them, and one is in memory.
    assert Counter(loaded) == {0.0: 2, 0.5: 2}
    assert encoded == [8, 8]  # training, validation, and what is reported
    run("--only", "adapter=mlp", "--seeds", "3")
    assert len(encoded) == 2


@pytest.mark.parametrize("change", ["captions", "recording", "weights", "default", "output"])
def test_other_data_weights_or_settings_are_other_runs(folder: Path, change: str) -> None:
    options = ["--only", "adapter=mlp", "--only", "overlap=0.0", "--seeds", "1"]
    base_file = Path("base.toml")
    base_file.write_text(base_file.read_text().replace(', weights = "formula"', ""))
    options += ["--weights", str(write_weights(folder / "weights", seed=0))]
    run(*options)
    assert len(runs()) == 1
    match change:
        case "captions":
            write_table(folder / "recordings" / "training.csv", {"low.wav": TRAINING["low.wav"]})
        case "recording":
            tone(folder / "recordings" / "low.wav", 111)
        case "weights":
            write_weights(folder / "weights", seed=1)
        case "default":
            base_file.write_text(base_file.read_text() + "batch_pairs = 3\n")
        case _:
            options += ["--set", "model.encoder.output=scores"]
    assert status(*options)["states"]["nothing"] == 1
    assert finished(run(*options)) == 1
    assert len(runs()) == 2


def test_another_search_captions_anew_and_trains_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("--only", "adapter=mlp")
    Path("study.toml").write_text(STUDY.replace("beam = 2", "beam = 1\nmaximum_words = 2"))
    assert status("--only", "adapter=mlp")["states"]["trained"] == 4
    monkeypatch.setattr(trainer, "_train", None)
    run("--only", "adapter=mlp")
    for path in runs().values():
        captions = (path / "captions.csv").read_text().splitlines()[1:]
        assert all(len(line.split(",")[1].split()) <= 2 for line in captions)


def test_a_failure_is_kept_with_its_traceback_shown_and_tried_again_on_request(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*arguments: Any) -> Any:
        raise ValueError("no caption today")

    monkeypatch.setattr(work, "captions_of", failing)
    only = ("--only", "adapter=mlp", "--only", "overlap=0.5", "--seeds", "1")
    text = run(*only, code=1)
    assert "failed: ValueError: no caption today" in text
    assert "1 failed; otoscribe study status says why, and --retry tries them again." in text
    (failure,) = status(*only)["failures"]
    assert failure["reason"] == "ValueError: no caption today"
    assert failure["adapter"] == "mlp"
    assert "Traceback" in (Path(failure["run"]) / "failed").read_text()
    assert f"failed: {failure['run']}: ValueError: no caption today" in run(*only, command="status")
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert finished(run(*only, code=1)) == 0
    assert finished(run(*only, "--retry")) == 1
    assert status(*only)["failures"] == []


def test_settings_whose_weights_are_absent_are_not_run_and_said_to_be(folder: Path) -> None:
    text = STUDY.replace(
        "[axes]",
        '[axes]\nencoder = ["yamnet", "support.tiny_encoder:TinyEncoder"]\nwords = ["random", "glove"]',
    )
    tiny = 'when = {encoder = "support.tiny_encoder:TinyEncoder"}'
    text += f'\n[[rules]]\n{tiny}\nset = {{"model.encoder.weights" = "formula"}}\n'
    Path("study.toml").write_text(text.replace("seeds = 2", "seeds = 1"))
    result = CliRunner().invoke(app, ["study", "run", "study.toml", "--workers", "1"])
    assert result.exit_code == 1
    assert finished(result.stdout) == 4
    assert "not run: 8 runs with encoder yamnet. The weights of yamnet are not in" in result.stderr
    assert "Type: otoscribe get glove" in result.stderr
    found = {missing["what"]: missing for missing in status()["missing"]}
    assert found["encoder yamnet"]["command"] == "otoscribe get yamnet"
    assert (found["encoder yamnet"]["runs"], found["words glove"]["runs"]) == (8, 8)


def test_data_that_are_absent_are_an_error(folder: Path) -> None:
    (folder / "recordings" / "validation.csv").unlink()
    result = CliRunner().invoke(app, ["study", "run", "study.toml"])
    assert result.exit_code == 1
    assert result.stderr.startswith("There is no ")


def test_a_metric_of_ones_own_is_reported(folder: Path) -> None:
    (folder / "my_length.py").write_text(
        "from otoscribe.study.metrics.base import Metric\n"
        "class Length(Metric):\n"
        "    def score(self, candidates, references):\n"
        "        assert candidates.keys() == references.keys()\n"
        "        return sum(map(len, candidates.values()))\n"
    )
    Path("study.toml").write_text(STUDY.replace('"cider_d"', '"my_length:Length"'))
    run("--only", "adapter=mlp", "--seeds", "1")
    table = read_scores(Path("studies/tiny/scores.csv"))
    assert table.metric == "my_length:Length"
    lengths = [
        sum(len(line.split(",")[1]) for line in (path / "captions.csv").read_text().splitlines()[1:])
        for path in runs().values()
    ]
    assert sorted(score.value for score in table.scores) == sorted(lengths)


@pytest.mark.parametrize(
    ("gives", "code", "message"),
    [
        ("math.nan", 1, "must give a finite number, not nan."),
        ("10**400", 1, "must give a finite number, not 1000000"),
        ("'0.5'", 1, "must give a finite number, not '0.5'."),
        ("numpy.float32(0.5)", 0, ""),
    ],
)
def test_what_a_metric_of_ones_own_prints_and_gives_is_looked_at(
    folder: Path, monkeypatch: pytest.MonkeyPatch, gives: str, code: int, message: str
) -> None:
    monkeypatch.delitem(sys.modules, "my_odd", raising=False)
    (folder / "my_odd.py").write_text(
        "import math\n"
        "import numpy\n"
        "from otoscribe.study.metrics.base import Metric\n"
        "print('scoring')\n"
        "class Odd(Metric):\n"
        "    def score(self, candidates, references):\n"
        "        print('scoring')\n"
        f"        return {gives}\n"
    )
    Path("study.toml").write_text(STUDY.replace('"cider_d"', '"my_odd:Odd"'))
    result = CliRunner().invoke(
        app, ["study", "run", "study.toml", "--workers", "1", "--only", "adapter=mlp"]
    )
    assert result.exit_code == code
    assert message in result.stderr
    assert "scoring" in result.stderr
    assert "scoring" not in result.stdout


def test_a_run_that_another_process_works_on_is_left_alone(folder: Path) -> None:
    study = open_study(read_study("study.toml", seeds=1), Where(Path("studies/tiny")))
    job = work.Job("run", study.runs[0].settings.model_dump_json(), study.runs[0].id)
    with lock_of(study.folder_of(study.runs[0])):
        assert work.work(job, study.shared).state is None
    assert work.work(job, study.shared).state is State.CAPTIONED
    assert work.work(job, study.shared).note == "done by another runner"


def test_a_failure_of_another_runner_is_not_tried_again(folder: Path) -> None:
    study = open_study(read_study("study.toml", seeds=1), Where(Path("studies/tiny")))
    first = study.runs[0]
    study.folder_of(first).mkdir(parents=True)
    (study.folder_of(first) / "failed").write_text("Traceback\nValueError: no luck\n")
    settings = first.settings.model_dump_json()
    outcome = work.work(work.Job("run", settings, first.id), study.shared)
    assert (outcome.state, outcome.problem) == (State.FAILED, "ValueError: no luck")
    assert work.work(work.Job("run", settings, first.id, retry=True), study.shared).state is State.CAPTIONED


def test_shards_share_out_all_runs_evenly_and_keep_groups_together(folder: Path) -> None:
    runs = open_study(read_study("study.toml", seeds=5), Where(Path("studies/tiny"))).runs
    for of in (1, 3, 7, 40):
        shares = [Shard.read(f"{number}/{of}").share(runs) for number in range(1, of + 1)]
        assert [run for share in shares for run in share] == list(runs)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
    groups = [run.group for run in runs]
    assert len(set(groups)) == 2
    assert groups == sorted(groups, key=groups.index)
    for share in ("0/3", ""):
        result = CliRunner().invoke(app, ["study", "run", "study.toml", "--shard", share])
        assert result.exit_code == 2
        assert "Write NUMBER/OF, from 1/16 to 16/16" in result.stderr


def test_two_shards_make_one_study(folder: Path) -> None:
    assert [finished(run("--shard", f"{number}/2", "--seeds", "1")) for number in (1, 2)] == [2, 2]
    assert len(read_scores(Path("studies/tiny/scores.csv")).scores) == 4


def test_a_report_says_how_many_runs_wrote_the_same_of_everything(folder: Path) -> None:
    run("--seeds", "1", "--only", "adapter=mlp")
    for place, captions in zip(Path("studies/tiny/runs").iterdir(), ("same same", "this that"), strict=True):
        of, _ = (place / "captioned").read_text().split()
        names = read_candidates(place / "captions.csv")
        write_captions(place, of, dict(zip(names, captions.split(), strict=True)))
    text = run("--seeds", "1", "--only", "adapter=mlp", command="report")
    assert "Learned little: 1 of 2 runs wrote the same caption for every recording." in text


def test_a_report_on_an_unfinished_study_says_what_it_rests_on(folder: Path) -> None:
    result = CliRunner().invoke(app, ["study", "report", "study.toml"])
    assert result.exit_code == 1
    assert "so there is nothing to report. Type: otoscribe study run" in result.stderr
    run("--seeds", "1", "--only", "adapter=mlp")
    text = run("--seeds", "2", command="report")
    assert "this report rests on 2 of 8 planned runs" in text
    assert "\nrecordings: 2\n" in text
    page = Path("studies/tiny/report/report.html").read_text()
    assert "made-up" in page
    assert "other.wav" in page
    assert len(read_scores(Path("studies/tiny/scores.csv")).scores) == 2
    for arguments in ([], ["study.toml", "--scores", "studies/tiny/scores.csv"]):
        result = CliRunner().invoke(app, ["study", "report", *arguments])
        assert (result.exit_code, result.stderr) == (
            2,
            "Name either a study or, with --scores, a CSV of scores.\n",
        )


def test_a_report_without_a_learning_curve_says_which(folder: Path) -> None:
    run("--seeds", "2", "--only", "adapter=mlp")
    for path, text in zip(runs().values(), ("epoch\none\n", None, None), strict=False):
        log = path / "log.csv"
        log.unlink() if text is None else log.write_text(text)
    result = CliRunner().invoke(app, ["study", "report", "study.toml", "--format", "json"])
    assert result.exit_code == 0
    assert sorted(result.stderr.splitlines()) == sorted(
        f"{(path / 'log.csv').absolute()} is missing or damaged: its learning curve is left out."
        for path in [*runs().values()][:3]
    )
    found = json.loads(result.stdout)
    assert (found["runs"], [len(one["validation_losses"]) for one in found["curves"]]) == (4, [1])


def test_what_other_programs_leave_in_a_runs_folder_is_left_there(folder: Path) -> None:
    study = open_study(read_study("study.toml"), Where(Path("studies/tiny")))
    of_others = [study.folder_of(run) / ".ipynb_checkpoints" for run in study.runs]
    for path in of_others:
        path.mkdir(parents=True)
    assert (
        run("--seeds", "1", "--only", "adapter=mlp").splitlines()[-1].startswith("2 of 2 runs have a score")
    )
    assert all(path.is_dir() for path in of_others)


def test_a_failure_that_is_gone_when_it_is_looked_at_has_no_reason(tmp_path: Path) -> None:
    assert last_line(tmp_path) == "for no stated reason"


def test_a_device_has_to_be_where_a_study_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    for options, code, message in (
        (["run"], 2, "The device 'nosuch' cannot be used here"),
        (["plan"], 2, "The device 'nosuch' cannot be used here"),
        (["plan", "--measure", "0"], 0, ""),
        (["run", "--ray", "x"], 1, "There is no Ray cluster at 'x'."),
    ):
        result = CliRunner().invoke(app, ["study", *options, "study.toml", "--device", "nosuch"])
        assert result.exit_code == code
        assert result.stderr.startswith(message)


def test_recordings_that_are_missing_from_a_table_of_two_splits_are_said_once(folder: Path) -> None:
    (folder / "recordings" / "other.wav").unlink()
    for command in ("status", "plan"):
        measured = ("--measure", "0") if command == "plan" else ()
        result = CliRunner().invoke(app, ["study", command, "study.toml", "--skip-missing", *measured])
        assert result.exit_code == 0
        assert result.stderr.count("1 of 2 recordings in") == len(result.stderr.splitlines()) == 1


def test_a_recording_that_changes_meanwhile_is_not_taken_for_what_it_was(folder: Path) -> None:
    study = open_study(read_study("study.toml", seeds=1), Where(Path("studies/tiny")))
    tone(folder / "recordings" / "low.wav", 555.0)
    job = work.Job("run", study.runs[0].settings.model_dump_json(), study.runs[0].id)
    outcome = work.work(job, study.shared)
    assert outcome.state is State.FAILED
    assert "low.wav changed meanwhile. Type the same command again." in outcome.problem
    # Under its own hash, it is as good as any.
    assert run("--seeds", "1").splitlines()[-1].startswith("4 of 4 runs have a score")


def test_scores_that_cannot_be_written_are_refused_in_a_sentence(folder: Path) -> None:
    (folder / "studies" / "tiny" / "scores.csv").mkdir(parents=True)
    only = ["--workers", "1", "--seeds", "1", "--only", "adapter=mlp"]
    result = CliRunner().invoke(app, ["study", "run", "study.toml", *only])
    assert result.exit_code == 1
    assert result.stderr == (
        "The scores of the study in studies/tiny cannot be kept there: is a directory. The captions "
        "stay, and the same command goes on.\n"
    )


def test_only_the_whole_of_clothos_evaluation_split_stands_beside_the_papers_figures(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("--seeds", "1", "--only", "adapter=mlp", "--only", "overlap=0.0")
    study = open_study(read_study("study.toml"), Where(Path("studies/tiny")))
    assert report_of(study, "ours").on_clotho is False
    monkeypatch.setattr(reported, "SPLITS", ("recordings/validation.csv",))
    assert report_of(study, "ours").on_clotho is False
    monkeypatch.setattr(reported, "RECORDINGS", len(study.references))
    assert report_of(study, "ours").on_clotho is True


def test_other_references_are_scored_anew(folder: Path) -> None:
    Path("study.toml").write_text(
        STUDY.replace('evaluation = "recordings/validation.csv"', 'evaluation = "recordings/other.csv"')
    )
    write_table(folder / "recordings" / "other.csv", {"low.wav": ["a low tone"], "high.wav": ["a high tone"]})
    only = ("--only", "adapter=mlp", "--only", "overlap=0.0")
    run(*only)
    first = [score.value for score in read_scores(Path("studies/tiny/scores.csv")).scores]
    write_table(folder / "recordings" / "other.csv", {"low.wav": ["zebras"], "high.wav": ["giraffes"]})
    assert finished(run(*only)) == 0
    assert [score.value for score in read_scores(Path("studies/tiny/scores.csv")).scores] == [0.0, 0.0]
    assert any(first)
