"""Captions of a run's best epoch: those of the search, one clip at a time, in the order of the clips."""

from pathlib import Path

import pytest
import torch

from otoscribe.datasets.folder import read_pairs
from otoscribe.errors import RunError
from otoscribe.model.torch_stepper import TorchStepper
from otoscribe.search.beam import search
from otoscribe.search.options import Search
from otoscribe.train import evaluate as evaluate_module
from otoscribe.train.evaluate import evaluate
from otoscribe.train.experiment import Places, prepare
from otoscribe.train.run import load_run
from otoscribe.train.trainer import train
from support.tiny_run import CPU, settings
from support.tiny_tables import tone, write_table


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    folder = tmp_path_factory.mktemp("tables")
    # The longest first, and so long that padding would drown the others.
    clips = {"c.wav": (1760, 4.0), "a.wav": (110, 0.1), "d.wav": (900, 0.3), "b.wav": (440, 0.5)}
    for name, (hertz, seconds) in clips.items():
        tone(folder / name, hertz, seconds)
    captions = ["a high whistle sounds", "a low hum", "whining", "a clear tone rings"]
    table = write_table(folder / "table.csv", dict(zip(clips, ([one] for one in captions), strict=True)))
    # Learned by heart, so that clips have captions of their own.
    return Places(table, table, features=folder / "features")


@pytest.fixture(scope="module")
def run(places: Places, tmp_path_factory: pytest.TempPathFactory) -> Path:
    chosen = settings(learning_rate=0.05, maximum_epochs=30, patience=30)
    prepared = prepare(chosen.model_copy(update={"data": type(chosen.data)()}), places)
    return train(prepared, tmp_path_factory.mktemp("runs"), CPU)


@pytest.mark.parametrize("beam", [1, 3])
@pytest.mark.parametrize("together", [32, 2])
def test_captions_are_those_of_the_search_for_each_clip_alone(
    run: Path, places: Places, beam: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_module, "CLIPS", together)
    options = Search(beam=beam)
    clips = read_pairs(places.training)[::-1]  # the longest first, which is not how they are searched
    told: list[tuple[str, int, int]] = []
    found = evaluate(
        run, clips, options=options, features=places.features, progress=lambda *step: told.append(step)
    )
    model, vocabulary, settings = load_run(run)
    prepared = prepare(settings, places)
    expected = []
    for features in reversed(prepared.training.features):
        with torch.inference_mode():
            stepper = TorchStepper(model, *model.remember(features[None], None))
        expected.append(vocabulary.decode(search(stepper, options)[0][0].tokens))
    assert found == expected
    assert len(set(found)) == 4
    assert told[-1] == ("captioning", 4, 4)


def test_a_run_without_weights_is_told(run: Path, places: Places, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a training run"):
        evaluate(tmp_path, [], options=Search(), features=places.features)


def test_no_clips_have_no_captions(run: Path, places: Places) -> None:
    assert evaluate(run, [], options=Search(), features=places.features) == []
