"""Training: what the loss counts, when it stops, which epoch is kept, and that it learns by heart."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from otoscribe.datasets.folder import read_pairs
from otoscribe.errors import RunError, UsageError
from otoscribe.model.caption_model import CaptionModel
from otoscribe.model.torch_stepper import TorchStepper
from otoscribe.search.beam import search
from otoscribe.search.options import Search
from otoscribe.settings import run_id
from otoscribe.text.vocabulary import END, START, words_of
from otoscribe.train.batches import Split, pad
from otoscribe.train.experiment import Places, prepare
from otoscribe.train.history import Epoch, best_epoch, finished
from otoscribe.train.run import load_run
from otoscribe.train.settings import TrainingSettings, read_settings
from otoscribe.train.trainer import RuntimeSettings, train, validation_loss
from support.tiny_run import CPU, VOCABULARY, experiment, run_in, settings, split


def epochs(*losses: float) -> list[Epoch]:
    return [
        Epoch(epoch=i, steps=i, training_loss=1.0, validation_loss=loss) for i, loss in enumerate(losses, 1)
    ]


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
                scores = model.log_probabilities(features[None], None, torch.tensor([[START, *words]]), [0])
            targets = torch.tensor([*words, END])
            total -= float(scores[0].gather(1, targets[:, None]).sum())
            tokens += len(targets)
    for pairs in (1, 3, 100):
        assert validation_loss(model, data, pairs) == pytest.approx(total / tokens, rel=1e-5)
    assert any(batch.mask is not None for batch in data.validation_batches(100))


def test_dropout_acts_in_training(tmp_path: Path) -> None:
    losses = []
    for dropout in (0.0, 0.5):
        run_in(
            tmp_path,
            report=lambda epoch: losses.append(epoch.training_loss),
            dropout=dropout,
            maximum_epochs=1,
        )
    assert losses[0] != losses[1]


def test_dropout_does_not_act_in_validation() -> None:
    torch.manual_seed(0)
    model = CaptionModel(settings(dropout=0.5).model, VOCABULARY)
    assert len({validation_loss(model.train(), split(), 4) for _ in range(3)}) == 1


def test_the_best_epoch_is_kept_and_not_the_last(tmp_path: Path) -> None:
    """The validation clips have each other's captions, so their loss falls and then rises."""
    others = Split(split().features, split().captions[::-1])
    curve: list[Epoch] = []
    chosen = experiment(validation=others, dropout=0.0, maximum_epochs=60, patience=3)
    run = train(chosen, tmp_path, CPU, curve.append)
    best = min(curve, key=lambda epoch: epoch.validation_loss)
    assert 1 < best.epoch == len(curve) - 3
    model, _, _ = load_run(run)
    assert validation_loss(model, others, 4) == best.validation_loss
    assert (run / "done").read_text() == f"best epoch {best.epoch} of {len(curve)}\n"


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
        {"warmup_steps": 1},
        {"schedule": "cosine"},
        {"weight_decay": 0.1},
        {"clip_norm": 1.0},
        {"label_smoothing": 0.1},
    ]
    assert set().union(*changes) == set(TrainingSettings.model_fields)
    assert len({run_id(settings(**change)) for change in changes}) == len(changes)


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    broken = split()
    broken.features[0][0, 0] = torch.nan
    with pytest.raises(RunError, match=r"no finite number in epoch 1\. Lower training\.learning_rate"):
        train(experiment(broken), tmp_path, CPU)
    assert not (tmp_path / run_id(settings()) / "model.safetensors").exists()


def test_bfloat16_trains_nearly_as_float32(tmp_path: Path) -> None:
    narrow, wide = (run_in(tmp_path, precision=name) / "log.csv" for name in ("bfloat16", "float32"))
    losses = [float(path.read_text().splitlines()[-1].split(",")[2]) for path in (narrow, wide)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], abs=0.2)


def test_a_device_that_is_not_there_is_told(tmp_path: Path) -> None:
    for device in ("abacus", "cuda:77"):
        with pytest.raises(UsageError, match=f"The device '{device}' cannot be used here; cpu always can"):
            train(experiment(), tmp_path, RuntimeSettings(device=device))


SMALL = """
[model]
encoder.name = "yamnet"
adapter = {name = "mlp", hidden = 64}
words = {name = "random", width = 64}
decoder = {d_model = 64, heads = 4, head_dim = 16, blocks = 2}
[training]
batch_pairs = 20
maximum_epochs = 80
learning_rate = 0.006
"""


@pytest.mark.slow
def test_twenty_real_pairs_are_learned_by_heart(shared_data: Path, tmp_path: Path) -> None:
    clips = read_pairs(shared_data / "pairs")[::3][:20]
    captions = [clip.captions[0] for clip in clips]
    table = tmp_path / "pairs.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(
            [("file_name", "caption_1"), *zip((c.path for c in clips), captions, strict=True)]
        )
    (tmp_path / "small.toml").write_text(SMALL)
    places = Places(table, table, shared_data / "weights", tmp_path / "features")
    twenty = prepare(read_settings(str(tmp_path / "small.toml")), places)
    run = train(twenty, tmp_path / "runs", CPU)
    model, _, _ = load_run(run)
    assert validation_loss(model, twenty.training, 20) < 0.02
    with torch.inference_mode():
        memory = model.remember(*pad(twenty.training.features))
    found = search(TorchStepper(model, *memory), Search(beam=2))
    said = [twenty.vocabulary.decode(hypotheses[0].tokens) for hypotheses in found]
    assert said == [" ".join(words_of(caption)) for caption in captions]
