"""Studies on the test material: what they compare, labels instead of sound, and one from end to end."""

import csv
from pathlib import Path

import pytest
import torch

from checks import studies, study_labels, study_pairs
from checks.labels import CLASSES, RATE, Labels, wav_of
from checks.study_labels import write_data
from otoscribe.audio import reading
from otoscribe.datasets.folder import read_pairs
from otoscribe.model.contract import check_encoder
from otoscribe.study.engine.grid import settings_of
from otoscribe.study.engine.settings import read_study
from otoscribe.study.scores import read_scores
from otoscribe.study.statistics import Comparison

FOLDER = Path(studies.__file__).parent
STUDY = """
name = "study-labels"
base = "base.toml"
metric = "cider_d"
seeds = 2
[data]
training = "runs/study-labels/training.csv"
validation = "runs/study-labels/validation.csv"
evaluation = "runs/study-labels/evaluation.csv"
[search]
beam = 2
[axes]
adapter = ["identity", "mlp"]
tuned = [false, true]
"""
BASE = """
[model]
encoder = {name = "checks.labels:Labels"}
adapter = {name = "mlp", hidden = 8}
words = {name = "random", width = 8}
decoder = {d_model = 8, heads = 2, head_dim = 4, blocks = 1}
[training]
maximum_epochs = 2
learning_rate = 0.01
"""
SOUNDS = ("a dog barks", "rain falls", "a bell rings")


@pytest.mark.parametrize(("name", "settings"), [("study_pairs", 60), ("study_labels", 15)])
def test_a_study_compares_what_it_says(name: str, settings: int) -> None:
    study = read_study(str(FOLDER / f"{name}.toml"))
    grid = settings_of(study)
    assert (len(grid), study.seeds) == (settings, 3)
    columns = zip(*(setting.labels for setting in grid), strict=True)
    axes = {axis: set(labels) for axis, labels in zip(study.axes, columns, strict=True)}
    asked = {"study_pairs": study_pairs.ASKED, "study_labels": study_labels.ASKED}[name]
    assert asked.file == f"{name}.toml"
    for claim in asked.claims:
        assert {claim.higher, claim.lower} <= axes[claim.axis]
        assert claim.within is None or claim.within in axes


def test_labels_are_read_as_they_were_written(tmp_path: Path) -> None:
    labels = [0, 1, 300, CLASSES - 1]
    (tmp_path / "clip.wav").write_bytes(wav_of(labels))
    audio = reading.load(tmp_path / "clip.wav", RATE)
    encoder = Labels(Labels.Settings(name=Labels.spec.name))
    (frames,) = encoder.features(torch.from_numpy(audio.waveform)[None])
    assert audio.notes == ()
    assert frames.sum(dim=1).tolist() == [1.0] * 4
    assert frames.argmax(dim=1).tolist() == labels
    assert len(encoder.times(len(labels))) == 4
    check_encoder(encoder, "labels")


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    """Return a folder of tables like AudioCaps' and AudioSet's: a label for each sound, and one for all."""
    folder = tmp_path / "captions"
    folder.mkdir()
    for split, clips, of_clip in (("train", 30, 1), ("val", 4, 5)):
        with (
            (folder / f"audiocaps_{split}.csv").open("w") as texts,
            (folder / f"audiocaps_{split}_labels.csv").open("w") as ticks,
        ):
            texts.write("audiocap_id,youtube_id,start_time,caption\n")
            ticks.write("audiocap_id,youtube_id,audioset_mids\n")
            for row in range(clips * of_clip):
                clip = row // of_clip
                names = f"{split}{row},{split} {clip}"
                texts.write(f"{names},0,{SOUNDS[clip % 3]} {row % of_clip}\n")
                ticks.write(f"{names},/m/all /m/{clip % 3}\n")
    (folder / "audioset_cooccurrence.csv").write_text(
        "mid_a,mid_b,clips\n/m/all,/m/0,1\n/m/all,/m/1,1\n/m/2,/m/2,1\n"
    )
    return folder


def test_clips_are_written_once_each_with_their_labels(captions: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    write_data(folder, captions, learnt=20, choosing=5)
    parts = {part: read_pairs(folder / f"{part}.csv") for part in ("training", "validation", "evaluation")}
    assert [len(clips) for clips in parts.values()] == [20, 5, 4]
    paths = [clip.path for clips in parts.values() for clip in clips]
    assert len(set(paths)) == 29
    first = parts["evaluation"][0]
    assert first.captions == tuple(f"a dog barks {number}" for number in range(5))
    assert first.path.read_bytes() == wav_of([0, 3])  # of /m/0, /m/1, /m/2, /m/all
    written = {path: path.stat().st_mtime_ns for path in paths}
    paths[3].write_bytes(paths[3].read_bytes()[:-1])  # as if it had been killed
    write_data(folder, captions, learnt=22, choosing=5)
    again = [clip.path for clip in read_pairs(folder / "training.csv")]
    assert again[:20] == paths[:20]
    assert {path: path.stat().st_mtime_ns for path in paths if path != paths[3]} == {
        path: time for path, time in written.items() if path != paths[3]
    }
    assert len(paths[3].read_bytes()) == len(wav_of([0, 3]))


def test_a_study_goes_from_its_file_to_its_report(
    captions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_text(STUDY)
    (tmp_path / "base.toml").write_text(BASE)
    folder = Path("runs/study-labels")
    write_data(folder, captions, learnt=20, choosing=5)
    asked = studies.Asked(
        str(tmp_path / "study.toml"), "Labels", "Four clips.", (Comparison("tuned", "true", "false"),)
    )
    studies.conduct(asked, ["--workers", "1", "--seeds", "1", "--only", "adapter=mlp"])
    studies.conduct(asked, ["--workers", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert sum(": validation loss " in line for line in lines) == 2 + 6
    assert lines[-1] == "8 of 8 runs: runs/study-labels/report/report.html"
    assert len(read_scores(folder / "scores.csv").scores) == 8
    text = (folder / "report" / "report.md").read_text()
    assert "Four clips." in text
    assert "a bell rings 0" in text  # a reference beside captions
    with (folder / "report" / "tests.csv").open(newline="") as file:
        assert [row["axis"] for row in csv.DictReader(file)] == ["tuned"]


def test_a_study_without_its_metric_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(studies, "lacking_for", lambda metric: f"{metric} needs its files.")
    with pytest.raises(SystemExit, match="spider needs its files"):
        studies.conduct(study_labels.ASKED, [])
    assert not list(tmp_path.iterdir())
