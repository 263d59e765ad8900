"""From settings and tables to an experiment: what is trained from what, and what names a run."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from otoscribe import files
from otoscribe.audio import reading
from otoscribe.errors import AudioError, RunError, TableError, TableWarning, WeightsError
from otoscribe.model.encoders.base import load_encoder
from otoscribe.search.options import Search
from otoscribe.settings import run_id
from otoscribe.text.vocabulary import UNKNOWN, Vocabulary
from otoscribe.train import embed as embed_module
from otoscribe.train.evaluate import evaluate
from otoscribe.train.experiment import Places, prepare, resolve
from otoscribe.train.export import export
from otoscribe.train.settings import DataSettings, ExperimentSettings
from otoscribe.train.store import Store
from otoscribe.train.trainer import train
from support.tiny_encoder import CLASSES, NAME, SAMPLE_RATE, WIDTH, TinyEncoder, write_weights
from support.tiny_run import CPU, MODEL, TRAINING
from support.tiny_tables import TRAINING as CAPTIONS
from support.tiny_tables import VALIDATION, tone, write_table, write_tables


@pytest.fixture
def places(tmp_path: Path) -> Places:
    training, validation = write_tables(tmp_path / "recordings")
    weights = write_weights(tmp_path / "weights", seed=0)
    return Places(training, validation, weights, tmp_path / "features")


def settings(
    *, weights: str | None = None, output: str = "embeddings", tuned: bool = False, **training: Any
) -> ExperimentSettings:
    encoder = {"name": NAME, "weights": weights, "output": output, "tuned": tuned}
    chosen = {"model": {**MODEL, "encoder": encoder}, "training": {**TRAINING, **training}}
    return ExperimentSettings.model_validate_json(json.dumps(chosen))


def decoded(vocabulary: Vocabulary, captions: list[list[int]]) -> list[str]:
    return [vocabulary.decode(words) for words in captions]


def features_of(places: Places, chosen: ExperimentSettings, name: str) -> torch.Tensor:
    encoder = load_encoder(chosen.model.encoder, places.weights)
    waveform = reading.load(places.training.parent / name, SAMPLE_RATE).waveform
    return encoder(torch.from_numpy(waveform)[None])[chosen.model.encoder.output][0]


def test_each_part_has_the_features_and_captions_of_its_own_table(places: Places) -> None:
    found = prepare(settings(), places)
    for part, table in ((found.training, CAPTIONS), (found.validation, VALIDATION)):
        assert len(part.features) == len(part.captions) == len(table)
        for name, features in zip(table, part.features, strict=True):
            assert torch.equal(features, features_of(places, settings(), name))
    spoken = [decoded(found.vocabulary, captions) for captions in found.training.captions]
    assert spoken == list(CAPTIONS.values())


def test_training_holds_few_embeddings_at_a_time(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """And those that were let go are the same when they are used again."""
    before = [features.clone() for features in prepare(settings(), places).training.features]
    released = []
    release = Store.release
    monkeypatch.setattr(Store, "release", lambda store: released.append(1) or release(store))
    monkeypatch.setattr(embed_module, "HELD", 2 * before[0].nbytes)
    features = prepare(settings(), places).training.features
    for _ in range(3):
        assert all(map(torch.equal, features, before))
    assert len(released) == 3 * 2  # of 12 frames that may be held: after 6, 6 and 6, and after 13


def test_the_vocabulary_is_that_of_the_training_captions_alone(places: Places) -> None:
    found = prepare(settings(), places)
    words = {word for row in CAPTIONS.values() for caption in row for word in caption.split()}
    assert set(found.vocabulary.words[4:]) == words
    assert "whines" not in found.vocabulary.words
    whines = found.validation.captions[0][0]
    assert whines[:2] == found.vocabulary.encode("a tone")
    assert whines[2] == UNKNOWN


def test_rare_words_are_left_out_of_the_vocabulary(places: Places) -> None:
    counted = prepare(settings(minimum_count=2), places).vocabulary.words[4:]
    assert set(counted) == {"a", "tone", "low", "high", "sounds", "hums"}


@pytest.mark.parametrize(("output", "width"), [("embeddings", WIDTH), ("scores", CLASSES)])
def test_the_adapter_gets_the_output_that_the_settings_choose(
    places: Places, output: str, width: int
) -> None:
    found = prepare(settings(output=output), places)
    assert all(features.shape[1] == width for features in found.training.features)
    assert torch.equal(found.training.features[0], features_of(places, settings(output=output), "low.wav"))


def test_features_of_other_weights_or_of_another_output_are_not_reused(
    places: Places, tmp_path: Path
) -> None:
    others = replace(places, weights=write_weights(tmp_path / "others", seed=1))
    for at, output in ((places, "embeddings"), (others, "embeddings"), (places, "scores")):
        chosen = settings(output=output)
        features = prepare(chosen, at).training.features
        assert torch.equal(features[0], features_of(at, chosen, "low.wav"))


def test_resolving_names_data_and_weights_and_nothing_else(places: Places) -> None:
    found = resolve(settings(), places)
    encoder = load_encoder(settings().model.encoder, places.weights)
    assert found.model.encoder.weights is not None
    assert found.model.encoder.weights.startswith("sha256:")
    assert (
        load_encoder(found.model.encoder, places.weights).state_dict().keys() == encoder.state_dict().keys()
    )
    assert found.data.fingerprint is not None
    assert found.is_resolved
    assert not settings().is_resolved
    left = found.model_dump(mode="json")
    left["data"]["fingerprint"] = left["model"]["encoder"]["weights"] = None
    assert left == settings().model_dump(mode="json")
    assert prepare(settings(), places).settings == found
    assert resolve(found, places) == found
    assert resolve(settings(weights="formula"), places).model.encoder.weights == "formula"


def swap(places: Places) -> Places:
    return replace(places, training=places.validation, validation=places.training)


def change_sound(places: Places) -> Places:
    tone(places.training.parent / "low.wav", 111)
    return places


def change_validation_sound(places: Places) -> Places:
    tone(places.training.parent / "last.wav", 111)
    return places


def change_caption(places: Places) -> Places:
    write_table(places.training, {**CAPTIONS, "low.wav": ["a low tone hums", "a low drone"]})
    return places


def leave_out_a_clip(places: Places) -> Places:
    write_table(places.validation, {"last.wav": VALIDATION["last.wav"]})
    return places


def change_weights(places: Places) -> Places:
    return replace(places, weights=write_weights(places.training.parent / "others", seed=1))


@pytest.mark.parametrize(
    "change",
    [swap, change_sound, change_validation_sound, change_caption, leave_out_a_clip, change_weights],
    ids=lambda change: str(change.__name__),
)
def test_other_data_or_weights_are_another_run(places: Places, change: Callable[[Places], Places]) -> None:
    first = run_id(resolve(settings(), places))
    assert run_id(resolve(settings(), change(places))) != first


def test_where_files_lie_and_what_they_are_called_names_no_run(places: Places, tmp_path: Path) -> None:
    elsewhere = Path(shutil.copytree(places.training.parent, tmp_path / "elsewhere"))
    (elsewhere / "low.wav").rename(elsewhere / "first.wav")
    table = write_table(
        elsewhere / "training.csv",
        {"first.wav" if name == "low.wav" else name: captions for name, captions in CAPTIONS.items()},
    )
    weights = Path(shutil.copytree(places.weights or Path(), tmp_path / "copied"))
    moved = Places(table, elsewhere / "validation.csv", weights, tmp_path / "other", skip_missing=True)
    assert resolve(settings(), moved) == resolve(settings(), places)


def test_settings_that_name_other_data_or_weights_are_refused(places: Places) -> None:
    named = resolve(settings(), places)
    with pytest.raises(WeightsError, match="not those that the settings name"):
        resolve(named, change_weights(places))
    change_caption(places)
    with pytest.raises(RunError, match=r"not those that the settings name: .*leave data\.fingerprint out"):
        resolve(named, places)


def test_a_recording_is_encoded_once_and_hashed_before_and_after(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    encoded: list[int] = []
    sha256, forward = files.sha256, TinyEncoder.forward

    def hashing(path: Path) -> str:
        hashed.append(path.name)
        return sha256(path)

    def encoding(self: TinyEncoder, waveforms: torch.Tensor) -> dict[str, torch.Tensor]:
        encoded.append(waveforms.shape[1])
        return forward(self, waveforms)

    monkeypatch.setattr(files, "sha256", hashing)
    monkeypatch.setattr(TinyEncoder, "forward", encoding)
    # Which hears noise of its own before any recording.
    monkeypatch.setattr("otoscribe.train.experiment.check_encoder", lambda *_: None)
    first = prepare(settings(), places)
    recordings = [*CAPTIONS, *VALIDATION]
    assert sorted(hashed) == sorted(2 * recordings)
    assert len(encoded) == 6
    hashed.clear()
    again = prepare(settings(), places)
    assert sorted(hashed) == sorted(recordings)
    assert len(encoded) == 6
    assert all(map(torch.equal, first.training.features, again.training.features))
    prepare(settings(), change_weights(places))
    assert len(encoded) == 12
    monkeypatch.setattr(embed_module, "READING", embed_module.READING + 1)
    prepare(settings(), places)
    assert len(encoded) == 18


def test_embeddings_in_half_precision_are_another_run_and_stored_apart(places: Places) -> None:
    whole = prepare(settings(), places)
    chosen = settings().model_copy(update={"data": DataSettings(precision="float16")})
    half = prepare(chosen, places)
    assert run_id(half.settings) != run_id(whole.settings)
    for exact, rounded in zip(whole.training.features, half.training.features, strict=True):
        assert rounded.dtype == torch.float16
        assert torch.equal(rounded, exact.half())
    (batch,) = half.training.training_batches(256, seed=0, epoch=1)
    assert batch.features.dtype == torch.float32


def test_progress_tells_of_every_recording(places: Places) -> None:
    told: list[tuple[str, int, int]] = []
    prepare(settings(), places, lambda *progress: told.append(progress))
    assert [what for what, done, total in told if done == total] == [
        "reading training",
        "reading validation",
        "encoding",
    ]
    assert [(done, total) for what, done, total in told if what == "encoding"] == [
        (done, 6) for done in range(1, 7)
    ]


def test_missing_recordings_are_left_out_only_if_asked(places: Places) -> None:
    (places.training.parent / "low.wav").unlink()
    with pytest.raises(TableError, match=r"low\.wav"):
        prepare(settings(), places)
    with pytest.warns(TableWarning, match=r"low\.wav"):
        found = prepare(settings(), replace(places, skip_missing=True))
    assert len(found.training.features) == 3
    assert "hum" not in found.vocabulary.words


def test_a_broken_recording_is_told(places: Places) -> None:
    (places.training.parent / "low.wav").write_bytes(b"RIFF, but no more")
    with pytest.raises(AudioError, match=r"low\.wav"):
        prepare(settings(), places)


def test_a_run_is_captioned_and_exported_with_its_own_weights_only(places: Places, tmp_path: Path) -> None:
    run = train(prepare(settings(maximum_epochs=1), places), tmp_path / "runs", CPU)
    others = change_weights(places).weights
    with pytest.raises(WeightsError, match="not those that the settings name"):
        export(run, tmp_path / "bundle", weights=others)
    assert not (tmp_path / "bundle").exists()
    with pytest.raises(WeightsError, match="not those that the settings name"):
        evaluate(run, [], options=Search(), features=tmp_path / "features", weights=others)
