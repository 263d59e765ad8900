"""The run folder: what is in it, what goes when it is done, and that a kill at any moment costs nothing."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from otoscribe.errors import RunError
from otoscribe.settings import id_of, run_id
from otoscribe.text.vocabulary import Vocabulary
from otoscribe.train import trainer
from otoscribe.train.history import Epoch, best_epoch, read_log
from otoscribe.train.run import identity, load_run, load_tensors, save_tensors
from otoscribe.train.settings import ExperimentSettings
from otoscribe.train.trainer import Experiment, train, validation_loss
from support.tiny_run import CPU, VOCABULARY, run_in, settings, split


def contents(run: Path) -> dict[str, bytes]:
    """Return all files but TensorBoard's, which holds times."""
    return {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()}


def test_a_finished_run_holds_the_best_weights_and_no_more(tmp_path: Path) -> None:
    said: list[Epoch] = []
    run = run_in(tmp_path, report=said.append)
    assert run == tmp_path / run_id(settings())
    assert set(contents(run)) == {
        "settings.json",
        "vocabulary.json",
        "words.json",
        "model.safetensors",
        "log.csv",
        "done",
    }
    assert (run / "log.csv").read_text().startswith("epoch,steps,training_loss,validation_loss\n1,2,")
    assert read_log(run / "log.csv") == said
    model, vocabulary, chosen = load_run(run)
    assert (vocabulary, chosen, model.training) == (VOCABULARY, settings(), False)
    assert validation_loss(model, split(1), 4) == best_epoch(said).validation_loss
    assert said[-1].training_loss < said[0].training_loss


def kill_at(monkeypatch: pytest.MonkeyPatch, change: int, after: bool) -> None:
    """Kill the process right before or after the run folder's n-th change by renaming or deleting a file."""
    changes = 0

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def changing(path: Path, *arguments: object, **options: object) -> object:
            nonlocal changes
            if real is unlink and path.name.startswith("."):  # clearing up a file that was renamed
                return real(path, *arguments, **options)
            changes += 1
            if changes == change and not after:
                raise KeyboardInterrupt
            done = real(path, *arguments, **options)
            if changes == change:
                raise KeyboardInterrupt
            return done

        return changing

    unlink = Path.unlink
    monkeypatch.setattr(Path, "replace", counted(Path.replace))
    monkeypatch.setattr(Path, "unlink", counted(unlink))


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_run_killed_at_any_change_of_its_folder_ends_the_same_to_the_bit(
    tmp_path: Path, after: bool
) -> None:
    whole = run_in(tmp_path / "whole", maximum_epochs=2)
    kills = 0
    while True:
        runs = tmp_path / str(kills + 1)
        with pytest.MonkeyPatch.context() as patch:
            kill_at(patch, kills + 1, after)
            try:
                run_in(runs, maximum_epochs=2)
                break
            except KeyboardInterrupt:
                kills += 1
        torch.rand(7)  # other use of the generator in between
        said: list[Epoch] = []
        run = run_in(runs, report=said.append, maximum_epochs=2)
        assert contents(run) == contents(whole), f"killed {'after' if after else 'before'} change {kills}"
        assert said == read_log(whole / "log.csv")
    # Settings, vocabulary, words, no `failed`; each epoch a model, a checkpoint, a log; log, done, no
    # checkpoint.
    assert kills == 4 + 2 * 3 + 3


@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, stop_after: int) -> None:
    whole = run_in(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_in(tmp_path / "killed", stop_after)
    killed = tmp_path / "killed" / whole.name
    assert set(contents(killed)) >= {"last.safetensors", "log.csv"}
    assert not {"done", "failed"} & set(contents(killed))
    assert len(read_log(killed / "log.csv")) == stop_after
    said: list[Epoch] = []
    run_in(tmp_path / "killed", report=said.append)
    assert contents(killed) == contents(whole)
    assert [epoch.epoch for epoch in said] == [1, 2, 3, 4]


def test_a_finished_run_is_reported_and_not_repeated(tmp_path: Path) -> None:
    first: list[Epoch] = []
    run = run_in(tmp_path, report=first.append)
    before = {file.name: file.stat().st_mtime_ns for file in run.iterdir()}
    again: list[Epoch] = []
    assert run_in(tmp_path, report=again.append) == run
    assert again == first
    assert {file.name: file.stat().st_mtime_ns for file in run.iterdir()} == before


def test_a_run_that_failed_says_why_until_it_goes_on(tmp_path: Path) -> None:
    def fail(epoch: Epoch) -> None:
        if epoch.epoch == 2:
            raise ValueError("no room for the second epoch")

    with pytest.raises(ValueError, match="no room"):
        run_in(tmp_path, report=fail)
    (run,) = tmp_path.iterdir()
    text = (run / "failed").read_text()
    assert text.startswith("Traceback (most recent call last):")
    assert text.endswith("ValueError: no room for the second epoch\n")
    assert not (run / "done").exists()
    run_in(tmp_path)
    whole = run_in(tmp_path / "whole")
    assert contents(run) == contents(whole)


def test_a_run_refuses_other_settings_and_another_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_in(tmp_path, 1)
    (run,) = tmp_path.iterdir()
    other = Experiment(settings(), Vocabulary.from_captions(["another"]), split(), split(1))
    with pytest.raises(RunError, match=r"has another vocabulary\.json"):
        train(other, tmp_path, CPU)
    (run / "settings.json").write_text(settings(seed=5).model_dump_json())
    with pytest.raises(RunError, match=r"has another settings\.json, so it cannot go on\. Choose another"):
        run_in(tmp_path)


@pytest.mark.parametrize("part", ["data", "weights"])
def test_a_run_that_names_no_data_or_weights_is_none(tmp_path: Path, part: str) -> None:
    chosen = json.loads(settings().model_dump_json())
    if part == "data":
        chosen["data"]["fingerprint"] = None
    else:
        chosen["model"]["encoder"]["weights"] = None
    open_settings = ExperimentSettings.model_validate_json(json.dumps(chosen))
    with pytest.raises(ValueError, match="name its data, and all weights"):
        Experiment(open_settings, VOCABULARY, split(), split(1))
    run = run_in(tmp_path, maximum_epochs=1)
    (run / "settings.json").write_text(open_settings.model_dump_json())
    with pytest.raises(RunError, match="names no data, weights or vectors"):
        load_run(run)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RunError, match=r"The run cannot be kept in .*Free space there or choose another"):
        run_in(tmp_path / "runs")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trainer, "save_checkpoint", full)
    with pytest.raises(RunError, match="no space left on device"):
        run_in(tmp_path / "others")


@pytest.mark.parametrize("damage", ["cut", "flip", "other", "empty"])
@pytest.mark.parametrize("name", ["last.safetensors", "model.safetensors"])
def test_a_damaged_checkpoint_is_refused_in_a_sentence(tmp_path: Path, name: str, damage: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_in(tmp_path, 1)
    (run,) = tmp_path.iterdir()
    content = (run / name).read_bytes()
    damaged = {
        "cut": content[:-9],
        "flip": content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
        "other": b"not a checkpoint",
        "empty": b"",
    }[damage]
    (run / name).write_bytes(damaged)
    message = re.escape(f"{run / name} is damaged (") + r".*\)\. Restore it from a copy"
    use = load_run if name == "model.safetensors" else lambda run: run_in(run.parent)
    with pytest.raises(RunError, match=message):
        use(run)


@pytest.mark.parametrize(
    "log", ["", "epoch\n", "epoch,steps,training_loss,validation_loss\n", "epoch,steps\n1,2\n", "1,2,x,y,z"]
)
def test_a_damaged_log_of_a_finished_run_is_refused_in_a_sentence(tmp_path: Path, log: str) -> None:
    run = run_in(tmp_path, maximum_epochs=1)
    (run / "log.csv").write_text(log)
    with pytest.raises(RunError, match=r"log\.csv is missing or damaged\. Restore it from a copy"):
        run_in(tmp_path, maximum_epochs=1)


def test_incomplete_and_mixed_runs_are_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a training run: it has no settings\.json"):
        load_run(tmp_path)
    run = run_in(tmp_path)
    (run / "vocabulary.json").write_text(Vocabulary.from_captions(["one more word"]).to_json())
    with pytest.raises(RunError, match="are not those that its weights were trained with"):
        load_run(run)
    (run / "model.safetensors").unlink()
    with pytest.raises(RunError, match=r"There is no .*model\.safetensors"):
        load_run(run)


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_finished_run_without_its_model_is_not_called_done(tmp_path: Path, damage: str) -> None:
    run = run_in(tmp_path, maximum_epochs=1)
    model = run / "model.safetensors"
    content = model.read_bytes()
    model.unlink()
    if damage == "cut":
        model.write_bytes(content[:-9])
    with pytest.raises(RunError, match=r"model\.safetensors"):
        run_in(tmp_path, maximum_epochs=1)


@pytest.mark.parametrize("name", ["settings.json", "vocabulary.json"])
def test_files_that_are_no_text_are_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    run = run_in(tmp_path, maximum_epochs=1)
    (run / name).write_bytes(b"\xff\xfe")
    for use in (load_run, lambda _: run_in(tmp_path, maximum_epochs=1)):
        with pytest.raises(RunError, match=rf"{name} is damaged: it is no UTF-8 text"):
            use(run)


def test_edited_settings_are_not_those_of_the_weights(tmp_path: Path) -> None:
    run = run_in(tmp_path, maximum_epochs=1)
    text = (run / "settings.json").read_text()
    assert '"seed": 0' in text
    (run / "settings.json").write_text(text.replace('"seed": 0', '"seed": 1'))
    with pytest.raises(RunError, match="are not those that its weights were trained with"):
        load_run(run)


def test_a_run_made_before_there_was_a_setting_is_loaded(tmp_path: Path) -> None:
    run = run_in(tmp_path, maximum_epochs=1)
    written = json.loads((run / "settings.json").read_text())
    del written["training"]["label_smoothing"]
    (run / "settings.json").write_text(json.dumps(written))
    with pytest.raises(RunError, match="are not those that its weights were trained with"):
        load_run(run)
    weights, notes = load_tensors(run / "model.safetensors")
    vocabulary = Vocabulary.from_json((run / "vocabulary.json").read_text())
    notes["run"] = identity(id_of(written), vocabulary)
    save_tensors(run / "model.safetensors", weights, notes)
    _, _, settings = load_run(run)
    assert settings.training.label_smoothing == 0.0
