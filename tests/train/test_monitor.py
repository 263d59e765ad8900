"""What people see of a run while it trains: sample captions, speed, and the file of TensorBoard."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from otoscribe.train.history import read_log
from otoscribe.train.monitor import Sample, sample_caption
from otoscribe.train.run import load_run
from otoscribe.train.trainer import train
from support.tiny_run import CAPTIONS, CPU, VOCABULARY, experiment, run_in, split

SHORTEST = min(range(5), key=split().lengths.__getitem__)
"""The validation's first clip."""


def written(run: Path) -> Iterator[tuple[int, str, object]]:
    """Yield step, tag and value of everything that TensorBoard would show."""
    for path in sorted((run / "tensorboard").iterdir()):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)  # then a checksum, the event, a checksum
            event = Event.FromString(content[at + 12 : at + 12 + length])
            at += 16 + length
            for value in event.summary.value:
                text = value.HasField("tensor")
                content_of = value.tensor.string_val[0].decode() if text else value.simple_value
                yield event.step, value.tag, content_of


def test_a_sample_is_a_greedy_caption_of_the_first_recording_to_validate_with(tmp_path: Path) -> None:
    samples: list[Sample] = []
    run = train(experiment(maximum_epochs=60, patience=60), tmp_path, CPU, sample=samples.append)
    assert [sample.epoch for sample in samples] == list(range(1, 61))
    assert all(sample.pairs_per_second > 0 for sample in samples)
    assert {sample.reference for sample in samples} <= set(CAPTIONS[SHORTEST])
    best = min(read_log(run / "log.csv"), key=lambda epoch: epoch.validation_loss).epoch
    model, vocabulary, _ = load_run(run)
    assert samples[best - 1].caption == sample_caption(model, split(1), vocabulary)[0]
    learnt = sample_caption(model, split(), VOCABULARY)
    assert learnt[0] in CAPTIONS[SHORTEST], "it has these captions by heart"


def test_looking_at_samples_changes_no_run(tmp_path: Path) -> None:
    """Nothing of them draws random numbers."""
    run = run_in(tmp_path, maximum_epochs=2)
    again = train(experiment(maximum_epochs=2), tmp_path / "again", CPU, sample=lambda sample: None)
    assert (run / "model.safetensors").read_bytes() == (again / "model.safetensors").read_bytes()


@pytest.mark.parametrize("killed", [None, 2])
def test_tensorboard_shows_every_epoch_once(tmp_path: Path, killed: int | None) -> None:
    if killed:
        with pytest.raises(KeyboardInterrupt):
            run_in(tmp_path, killed)
    run = run_in(tmp_path)
    shown = list(written(run))
    history = read_log(run / "log.csv")
    for tag, name in (("loss/training", "training_loss"), ("loss/validation", "validation_loss")):
        found = [(step, value) for step, at, value in shown if at == tag]
        assert found == [(epoch.epoch, pytest.approx(getattr(epoch, name), rel=1e-6)) for epoch in history]
    captions = [value for _, tag, value in shown if tag.startswith("caption")]
    assert len(captions) == len(history) - (killed or 0)
    assert all("(a reference: " in str(caption) for caption in captions)


def test_progress_counts_the_pairs_of_every_epoch(tmp_path: Path) -> None:
    counted: list[tuple[str, int, int]] = []
    train(
        experiment(maximum_epochs=2),
        tmp_path,
        CPU,
        progress=lambda what, done, total: counted.append((what, done, total)),
    )
    assert {(what, total) for what, _, total in counted} == {("training", 6)}
    assert [done for _, done, _ in counted].count(6) == 2
