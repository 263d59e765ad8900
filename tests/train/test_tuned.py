"""An encoder that is trained along: what moves, what stays, and that its run is used as any other."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from otoscribe.audio import reading
from otoscribe.datasets.folder import read_pairs
from otoscribe.errors import AudioError
from otoscribe.listen.captioner import Captioner
from otoscribe.model.encoders.base import load_encoder, weights_of
from otoscribe.search.options import Search
from otoscribe.train.evaluate import evaluate
from otoscribe.train.experiment import Places, prepare
from otoscribe.train.export import export
from otoscribe.train.run import load_run
from otoscribe.train.settings import ExperimentSettings
from otoscribe.train.trainer import train, validation_loss
from otoscribe.train.waveforms import encoded
from support.tiny_encoder import NAME, SAMPLE_RATE, write_weights
from support.tiny_run import CPU, MODEL, TRAINING
from support.tiny_tables import write_tables


@pytest.fixture
def places(tmp_path: Path) -> Places:
    training, validation = write_tables(tmp_path / "recordings")
    weights = write_weights(tmp_path / "weights", seed=0)
    return Places(training, validation, weights, tmp_path / "features")


def settings(tuned: bool = True, **training: Any) -> ExperimentSettings:
    encoder = {"name": NAME, "tuned": tuned}
    chosen = {"model": {**MODEL, "encoder": encoder}, "training": {**TRAINING, **training}}
    return ExperimentSettings.model_validate_json(json.dumps(chosen))


def state(encoder: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in encoder.state_dict().items()}


def test_training_moves_the_weights_that_the_output_depends_on(places: Places, tmp_path: Path) -> None:
    before = state(load_encoder(settings().model.encoder, places.weights))
    run = train(prepare(settings(), places), tmp_path / "runs", CPU)
    model, _, _ = load_run(run)
    assert model.encoder is not None
    moved = {name for name, value in model.encoder.state_dict().items() if not value.equal(before[name])}
    assert moved == {"layer.weight", "layer.bias"}  # and not the classifier, which nothing reads
    assert not places.features.exists()


def test_the_experiment_keeps_the_encoder_that_it_began_with(places: Places, tmp_path: Path) -> None:
    experiment = prepare(settings(), places)
    train(experiment, tmp_path / "first", CPU)
    assert experiment.encoder is not None
    assert weights_of(experiment.encoder) == experiment.settings.model.encoder.weights
    first, second = (train(experiment, tmp_path / name, CPU) for name in ("first", "second"))
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()


def test_before_the_first_step_it_is_the_frozen_encoder(places: Places, tmp_path: Path) -> None:
    """The same seed, the same first batch: a tuned and a frozen run begin with the same loss."""
    losses = []
    for tuned in (True, False):
        experiment = prepare(settings(tuned), places)
        torch.manual_seed(0)
        model = experiment.model()
        losses.append(validation_loss(model, experiment.validation, 3))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_a_killed_run_goes_on_to_the_same_bits(places: Places, tmp_path: Path) -> None:
    whole = train(prepare(settings(), places), tmp_path / "whole", CPU)

    def kill(epoch: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(prepare(settings(), places), tmp_path / "killed", CPU, kill)
    killed = train(prepare(settings(), places), tmp_path / "killed", CPU)
    for name in ("model.safetensors", "log.csv"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


def test_the_gradient_is_that_of_the_encoder_at_once(places: Places) -> None:
    """Recomputing on the way back changes nothing."""
    encoder = load_encoder(settings().model.encoder, places.weights)
    waveform = torch.randn(5000, generator=torch.Generator().manual_seed(0))
    gradients = []
    for features in (encoder.features(waveform[None])[0], encoded(encoder, waveform)):
        encoder.zero_grad()
        features.square().sum().backward()
        gradients.append(encoder.layer.weight.grad.clone())
    assert torch.equal(*gradients)


def test_dropout_acts_everywhere_but_in_the_encoder(places: Places) -> None:
    model = prepare(settings(), places).model().train()
    assert model.encoder is not None
    assert not any(module.training for module in model.encoder.modules())
    assert model.decoder.training


def test_evaluation_and_export_hear_by_the_tuned_weights(places: Places, tmp_path: Path) -> None:
    """And need the published ones no more."""
    run = train(prepare(settings(maximum_epochs=30), places), tmp_path / "runs", CPU)
    (places.weights / "tiny.npz").unlink()  # type: ignore[operator]
    clips = read_pairs(places.training)
    options = Search(beam=1)
    captions = evaluate(run, clips, options=options, features=places.features)
    assert not places.features.exists()
    assert len(set(captions)) > 1
    assert export(run, tmp_path / "bundle", search=options) < 1e-4
    captioner = Captioner(tmp_path / "bundle")
    assert [captioner.caption(clip.path).caption for clip in clips] == captions
    # What a frozen run would say is something else.
    model, _, _ = load_run(run)
    assert model.encoder is not None
    waveform = torch.from_numpy(reading.load(clips[0].path, SAMPLE_RATE).waveform)
    frozen = load_encoder(settings().model.encoder, write_weights(tmp_path / "again", seed=0))
    assert not np.allclose(encoded(model.encoder, waveform).detach(), encoded(frozen, waveform).detach())


def test_a_recording_that_cannot_be_read_is_told_before_training(places: Places, tmp_path: Path) -> None:
    recording = read_pairs(places.training)[0].path
    recording.write_bytes(b"no sound")
    with pytest.raises(AudioError):
        prepare(settings(), places)
