"""The optimiser's steps, against the same written out with `torch.optim.Adam` and by hand."""

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from otoscribe.model.caption_model import CaptionModel
from otoscribe.text.vocabulary import END, PAD
from otoscribe.train import trainer
from otoscribe.train.batches import ClipBatch
from otoscribe.train.history import Epoch
from otoscribe.train.run import load_run
from otoscribe.train.settings import TrainingSettings
from otoscribe.train.trainer import learning_rate
from support.tiny_run import VOCABULARY, run_in, settings, split

EPOCHS = 3
STEADY: dict[str, Any] = {"epsilon": 1e-3, "dropout": 0.0, "maximum_epochs": EPOCHS}
"""Some gradients are 0 but for rounding, which an epsilon of 1e-8 would blow up to whole steps."""


def mean_loss(model: CaptionModel, batch: ClipBatch, smoothing: float = 0.0) -> Tensor:
    """Return the loss per token of a batch, its clips and captions taken one by one."""
    losses = []
    for tokens, clip in zip(batch.rows.tokens, batch.rows.clip_of_row, strict=True):
        fed = tokens[tokens != PAD]
        words = torch.cat([fed[1:], torch.tensor([END])])
        frames = slice(None) if batch.mask is None else batch.mask[clip]
        scores = model.log_probabilities(batch.features[clip, frames][None], None, fed[None], [0])
        right = scores[0].gather(1, words[:, None])[:, 0]
        losses.append(-(1 - smoothing) * right - smoothing * scores[0].mean(dim=1))
    return torch.cat(losses).mean()


def by_hand(
    step: Callable[[CaptionModel, torch.optim.Optimizer, ClipBatch], None], **training: Any
) -> CaptionModel:
    """Train as the settings say by Adam, with a step of the test's own."""
    chosen = settings(**{**STEADY, **training})
    options = chosen.training
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    model = CaptionModel(chosen.model, VOCABULARY)
    adam = torch.optim.Adam(
        model.parameters(),
        lr=options.learning_rate,
        betas=(options.beta1, options.beta2),
        eps=options.epsilon,
    )
    for epoch in range(1, EPOCHS + 1):
        for batch in split().training_batches(options.batch_pairs, options.seed, epoch):
            step(model, adam, batch)
    return model


def trained(runs: Path, **training: Any) -> CaptionModel:
    """Train by `train`, on a loss that falls throughout, so that the last epoch is the one that is kept."""
    curve: list[Epoch] = []
    run = run_in(runs, report=curve.append, **{**STEADY, **training})
    assert all(after.validation_loss < before.validation_loss for before, after in pairwise(curve))
    return load_run(run)[0]


def assert_equal(model: CaptionModel, expected: CaptionModel) -> None:
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=0, atol=2e-5, msg=name)


def plain(model: CaptionModel, adam: torch.optim.Optimizer, batch: ClipBatch) -> None:
    adam.zero_grad()
    mean_loss(model, batch).backward()
    adam.step()


# An epsilon as large as gradients: otherwise Adam's steps hardly depend on the size of the loss.
@pytest.mark.parametrize(
    "training",
    [
        {},
        {"learning_rate": 0.02},
        {"beta1": 0.5, "beta2": 0.8},
        {"epsilon": 0.05},
        {"batch_pairs": 6},
        {"seed": 3},
    ],
    ids=str,
)
def test_training_is_adam_on_the_mean_loss_per_token(tmp_path: Path, training: dict[str, Any]) -> None:
    assert_equal(trained(tmp_path, **training), by_hand(plain, **training))


def test_the_papers_settings_give_what_plain_adam_gives_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = run_in(tmp_path / "ours", maximum_epochs=EPOCHS)

    def adam(
        parameters: Any, rate: float, betas: tuple[float, float], epsilon: float, decay: float
    ) -> torch.optim.Adam:
        assert decay == 0.0
        return torch.optim.Adam(parameters, rate, betas, epsilon)

    monkeypatch.setattr(trainer.torch.optim, "AdamW", adam)
    plain = run_in(tmp_path / "plain", maximum_epochs=EPOCHS)
    assert (ours / "model.safetensors").read_bytes() == (plain / "model.safetensors").read_bytes()


def test_weight_decay_takes_a_share_of_every_weight_and_is_no_part_of_the_gradient(tmp_path: Path) -> None:
    def step(model: CaptionModel, adam: torch.optim.Optimizer, batch: ClipBatch) -> None:
        adam.zero_grad()
        mean_loss(model, batch).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter *= 1 - settings().training.learning_rate * 0.5
        adam.step()

    assert_equal(trained(tmp_path, weight_decay=0.5), by_hand(step))


def test_a_long_gradient_is_cut_to_its_norm_and_a_short_one_is_left(tmp_path: Path) -> None:
    norms = []

    def step(model: CaptionModel, adam: torch.optim.Optimizer, batch: ClipBatch) -> None:
        adam.zero_grad()
        mean_loss(model, batch).backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        norms.append(math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients)))
        for gradient in gradients:
            gradient *= min(1.0, clip / norms[-1])
        adam.step()

    clip = math.inf
    by_hand(step)
    clip = sorted(norms)[len(norms) // 2]
    # Again the epsilon: Adam would hide a change of all gradients alike.
    assert_equal(trained(tmp_path, clip_norm=clip, epsilon=0.05), by_hand(step, epsilon=0.05))


def test_label_smoothing_changes_the_training_loss_only(tmp_path: Path) -> None:
    def step(model: CaptionModel, adam: torch.optim.Optimizer, batch: ClipBatch) -> None:
        adam.zero_grad()
        mean_loss(model, batch, smoothing=0.3).backward()
        adam.step()

    curve: list[Epoch] = []
    run = run_in(tmp_path, report=curve.append, label_smoothing=0.3, **STEADY)
    model = load_run(run)[0]
    assert_equal(model, by_hand(step))
    total, tokens = 0.0, 0
    with torch.inference_mode():
        for batch in split(1).validation_batches(4):
            total += float(mean_loss(model, batch)) * batch.targets
            tokens += batch.targets
    assert curve[-1].validation_loss == pytest.approx(total / tokens, rel=1e-5)


def rates(**training: Any) -> list[float]:
    """Return the step size of steps 0 to 7, two an epoch."""
    options = TrainingSettings(maximum_epochs=4, learning_rate=1.0, **training)
    return [learning_rate(options, step, step / 8) for step in range(8)]


def test_step_sizes_follow_the_schedule() -> None:
    assert rates() == [1.0] * 8
    assert rates(warmup_steps=4) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0]
    cosine = [(1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]
    assert rates(schedule="cosine") == pytest.approx(cosine)
    assert rates(schedule="cosine", warmup_steps=2) == pytest.approx([cosine[0] / 2, *cosine[1:]])


@pytest.mark.parametrize("stop_after", [None, 1, 2])
def test_training_asks_the_schedule_for_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int | None
) -> None:
    """Also in a run that was killed in between."""
    asked: list[tuple[int, float]] = []

    def noted(options: TrainingSettings, step: int, progress: float) -> float:
        asked.append((step, progress))
        return learning_rate(options, step, progress)

    monkeypatch.setattr(trainer, "learning_rate", noted)
    if stop_after is not None:
        with pytest.raises(KeyboardInterrupt):
            run_in(tmp_path, stop_after, schedule="cosine", batch_pairs=3, maximum_epochs=3)
    run_in(tmp_path, schedule="cosine", batch_pairs=3, maximum_epochs=3)
    # Six pairs in batches of three; the clip with two captions is in one of them.
    assert asked == [(step, pytest.approx(step / 6)) for step in range(6)]


def test_the_schedule_reaches_the_optimiser(tmp_path: Path) -> None:
    options = settings(schedule="cosine", warmup_steps=2).training
    steps = 0

    def step(model: CaptionModel, adam: torch.optim.Optimizer, batch: ClipBatch) -> None:
        nonlocal steps
        adam.param_groups[0]["lr"] = learning_rate(options, steps, steps / 6)
        steps += 1
        plain(model, adam, batch)

    chosen = {"schedule": "cosine", "warmup_steps": 2, "batch_pairs": 3}
    assert_equal(trained(tmp_path, **chosen), by_hand(step, **chosen))
