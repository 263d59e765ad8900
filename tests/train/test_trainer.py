"""Training: what the loss counts, when it stops, how it resumes, and that it learns real pairs by heart."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from otoscribe.datasets.folder import read_pairs
from otoscribe.errors import RunError, SettingsError, UsageError
from otoscribe.model.caption_model import CaptionModel, TorchStepper
from otoscribe.model.encoders.base import ENCODERS
from otoscribe.search.beam import Search, search
from otoscribe.settings import run_id
from otoscribe.text.vocabulary import END, START, Vocabulary, words_of
from otoscribe.train.batches import Split, pad, validation_batches
from otoscribe.train.run import RunSettings, TrainingSettings, load_run, read_settings
from otoscribe.train.store import Store
from otoscribe.train.trainer import (
    Epoch,
    RuntimeSettings,
    best_epoch,
    finished,
    train,
    validation_loss,
)

SMALL: dict[str, Any] = {
    "model": {
        "encoder": {},
        "adapter": {"name": "mlp", "hidden": 8},
        "words": {"name": "random", "width": 12},
        "decoder": {"d_model": 16, "heads": 2, "head_dim": 8, "blocks": 1, "dropout": 0.2},
    },
    "training": {"batch_pairs": 4, "maximum_epochs": 4, "learning_rate": 0.01},
}
CAPTIONS = [["a dog barks", "dog barking"], ["rain falls on a roof"], ["a bird sings"], ["a horn"], ["wind"]]
VOCABULARY = Vocabulary.from_captions(caption for row in CAPTIONS for caption in row)
CPU = RuntimeSettings(threads=1)


def settings(**training: Any) -> RunSettings:
    changed = {**SMALL, "training": {**SMALL["training"], **training}}
    return RunSettings.model_validate_json(json.dumps(changed))


def split(seed: int = 0) -> Split:
    generator = torch.Generator().manual_seed(seed)
    features = [torch.rand(frames, 1024, generator=generator) for frames in (3, 1, 2, 3, 4)]
    return Split(features, [[VOCABULARY.encode(caption) for caption in row] for row in CAPTIONS])


def run_in(runs: Path, stop_after: int | None = None, **training: Any) -> Path:
    """Train; `stop_after` kills the run when it reports that epoch."""

    def report(epoch: Epoch) -> None:
        if epoch.epoch == stop_after:
            raise KeyboardInterrupt

    return train(settings(**training), VOCABULARY, split(), split(1), runs, CPU, report=report)


def epochs(*losses: float) -> list[Epoch]:
    return [Epoch(epoch=i, training_loss=1.0, validation_loss=loss) for i, loss in enumerate(losses, 1)]


def test_training_stops_after_patience_and_the_first_best_epoch_counts() -> None:
    options = TrainingSettings(patience=3, maximum_epochs=50)
    curve = epochs(3.0, 2.0, 2.5, 1.5, 1.5, 1.6, 1.7)
    stops = [finished(curve[:length], options) for length in range(len(curve) + 1)]
    assert stops == [False] * 7 + [True]
    assert best_epoch(curve).epoch == 4
    assert finished(curve[:3], TrainingSettings(patience=3, maximum_epochs=3))


def test_the_loss_counts_real_tokens_and_nothing_else() -> None:
    torch.manual_seed(0)
    model = CaptionModel(settings().model, VOCABULARY)
    data = split()
    total, tokens = 0.0, 0
    model.eval()
    for features, captions in zip(data.features, data.captions, strict=True):
        for words in captions:
            with torch.inference_mode():
                scores = model.log_probabilities(
                    features[None], None, torch.tensor([[START, *words]]), torch.tensor([0])
                )
            targets = torch.tensor([*words, END])
            total -= float(scores[0].gather(1, targets[:, None]).sum())
            tokens += len(targets)
    for pairs in (1, 3, 100):
        assert validation_loss(model, data, pairs) == pytest.approx(total / tokens, rel=1e-5)
    assert any(batch.mask is not None for batch in validation_batches(data, 100))


def test_a_run_leaves_its_folder_complete(tmp_path: Path) -> None:
    said: list[Epoch] = []
    run = train(settings(), VOCABULARY, split(), split(1), tmp_path, CPU, report=said.append)
    assert run == tmp_path / run_id(settings())
    files = {"settings.json", "vocabulary.json", "model.safetensors", "last.safetensors", "log.csv", "done"}
    assert {file.name for file in run.iterdir()} == files
    lines = (run / "log.csv").read_text().splitlines()
    assert lines[0] == "epoch,training_loss,validation_loss"
    assert [float(line.split(",")[2]) for line in lines[1:]] == [epoch.validation_loss for epoch in said]
    model, vocabulary, chosen = load_run(run)
    assert (vocabulary, chosen, model.training) == (VOCABULARY, settings(), False)
    assert validation_loss(model, split(1), 4) == best_epoch(said).validation_loss
    assert said[-1].training_loss < said[0].training_loss


@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_killed_run_goes_on_to_bit_identical_results(tmp_path: Path, stop_after: int) -> None:
    whole = run_in(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_in(tmp_path / "killed", stop_after)
    killed = tmp_path / "killed" / whole.name
    assert not (killed / "done").exists()
    assert len((killed / "log.csv").read_text().splitlines()) == 1 + stop_after
    torch.rand(7)  # other use of the generator in between
    run_in(tmp_path / "killed")
    for name in ("model.safetensors", "last.safetensors", "log.csv", "done"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


def test_a_run_killed_between_its_two_checkpoints_repeats_the_epoch(tmp_path: Path) -> None:
    whole = run_in(tmp_path / "whole", maximum_epochs=2)
    with pytest.raises(KeyboardInterrupt):
        run_in(tmp_path / "killed", 1, maximum_epochs=2)
    killed = tmp_path / "killed" / whole.name
    (killed / "model.safetensors").write_bytes((whole / "model.safetensors").read_bytes())
    run_in(tmp_path / "killed", maximum_epochs=2)
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    before = (run / "last.safetensors").stat().st_mtime_ns
    assert run_in(tmp_path) == run
    assert (run / "last.safetensors").stat().st_mtime_ns == before


def test_the_seed_decides(tmp_path: Path) -> None:
    first, again, other = (
        run_in(tmp_path / name, seed=seed) for name, seed in [("a", 1), ("b", 1), ("c", 2)]
    )
    assert (first / "log.csv").read_bytes() == (again / "log.csv").read_bytes()
    assert (first / "log.csv").read_bytes() != (other / "log.csv").read_bytes()


def test_any_setting_changes_the_run_id() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"seed": 1},
        {"learning_rate": 0.02},
        {"beta1": 0.8},
        {"beta2": 0.9},
        {"epsilon": 1e-7},
        {"batch_pairs": 5},
        {"patience": 9},
        {"maximum_epochs": 5},
        {"minimum_count": 2},
        {"precision": "bfloat16"},
    ]
    assert set().union(*changes) == set(TrainingSettings.model_fields)
    assert len({run_id(settings(**change)) for change in changes}) == len(changes)


def test_a_run_refuses_other_settings_vocabulary_and_data(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    with pytest.raises(RunError, match="started with other training data, so it cannot go on"):
        train(settings(), VOCABULARY, split(2), split(1), tmp_path, CPU)
    with pytest.raises(RunError, match="started with other validation data"):
        train(settings(), VOCABULARY, split(), split(2), tmp_path, CPU)
    other = Vocabulary.from_captions(["another"])
    with pytest.raises(RunError, match=r"has another vocabulary\.json"):
        train(settings(), other, split(), split(1), tmp_path, CPU)
    (run / "settings.json").write_text(settings(seed=5).model_dump_json())
    with pytest.raises(RunError, match=r"has another settings\.json, so it cannot go on\. Choose another"):
        run_in(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "flip", "other", "empty"])
@pytest.mark.parametrize("name", ["last.safetensors", "model.safetensors"])
def test_a_damaged_checkpoint_is_refused_in_a_sentence(tmp_path: Path, name: str, damage: str) -> None:
    run = run_in(tmp_path, maximum_epochs=1)
    content = (run / name).read_bytes()
    damaged = {
        "cut": content[:-9],
        "flip": content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
        "other": b"not a checkpoint",
        "empty": b"",
    }[damage]
    (run / name).write_bytes(damaged)
    message = re.escape(f"{run / name} is damaged (") + r".*\)\. Restore it from a copy"
    use = load_run if name == "model.safetensors" else lambda run: run_in(run.parent, maximum_epochs=1)
    with pytest.raises(RunError, match=message):
        use(run)


def test_incomplete_and_mixed_runs_are_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a training run: it has no settings\.json"):
        load_run(tmp_path)
    run = run_in(tmp_path)
    (run / "vocabulary.json").write_text(Vocabulary.from_captions(["one more word"]).to_json())
    with pytest.raises(RunError, match="do not fit the run's settings and vocabulary"):
        load_run(run)
    (run / "model.safetensors").unlink()
    with pytest.raises(RunError, match=r"There is no .*model\.safetensors"):
        load_run(run)


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    broken = split()
    broken.features[0][0, 0] = torch.nan
    with pytest.raises(RunError, match=r"no finite number in epoch 1\. Lower training\.learning_rate"):
        train(settings(), VOCABULARY, broken, split(1), tmp_path, CPU)
    assert not (tmp_path / run_id(settings()) / "model.safetensors").exists()


def test_bfloat16_trains_nearly_as_float32(tmp_path: Path) -> None:
    narrow, wide = (run_in(tmp_path, precision=name) / "log.csv" for name in ("bfloat16", "float32"))
    losses = [float(path.read_text().splitlines()[-1].split(",")[2]) for path in (narrow, wide)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], abs=0.2)


def test_a_device_that_is_not_there_is_told(tmp_path: Path) -> None:
    for device in ("abacus", "cuda:77"):
        with pytest.raises(UsageError, match=f"The device '{device}' cannot be used here; cpu always can"):
            train(settings(), VOCABULARY, split(), split(), tmp_path, RuntimeSettings(device=device))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the file: Invalid JSON"),
        ('{"training": {"seed": -1, "speed": 3}}', "model: Field required; training.seed: Input should be"),
        ('{"training": {"speed": 3}}', "training.speed: Extra inputs are not permitted"),
    ],
)
def test_settings_that_cannot_be_used_are_told_by_their_place(text: str, message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read_settings(text, Path("settings.json"))
    assert message in str(raised.value)


def test_twenty_real_pairs_are_learned_by_heart(shared_data: Path, tmp_path: Path) -> None:
    clips = read_pairs(shared_data / "pairs")[::3][:20]
    captions = [clip.captions[0] for clip in clips]
    vocabulary = Vocabulary.from_captions(captions)
    encoder = ENCODERS["yamnet"].load(shared_data / "weights" / "yamnet.tflite")
    store = Store(tmp_path / "features", encoder, "embeddings")
    data = Split([store[clip.path] for clip in clips], [[vocabulary.encode(one)] for one in captions])
    chosen = RunSettings.model_validate_json(
        json.dumps(
            {
                "model": {
                    "encoder": {},
                    "adapter": {"name": "mlp", "hidden": 64},
                    "words": {"name": "random", "width": 64},
                    "decoder": {"d_model": 64, "heads": 4, "head_dim": 16, "blocks": 2},
                },
                "training": {"batch_pairs": 20, "maximum_epochs": 150, "learning_rate": 0.003},
            }
        )
    )
    run = train(chosen, vocabulary, data, data, tmp_path, CPU)
    model, _, _ = load_run(run)
    assert validation_loss(model, data, 20) < 0.02
    with torch.inference_mode():
        memory = model.remember(*pad(data.features))
    found = search(TorchStepper(model, *memory), Search(beam=2))
    said = [vocabulary.decode(hypotheses[0].tokens) for hypotheses in found]
    assert said == [" ".join(words_of(caption)) for caption in captions]
