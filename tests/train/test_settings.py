"""Settings of a run: TOML and presets, and what is wrong with those that cannot be used."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from otoscribe.errors import SettingsError, UsageError
from otoscribe.model.adapters.attention import AttentionSettings
from otoscribe.model.decoder import DecoderSettings
from otoscribe.model.words.random import RandomSettings
from otoscribe.train.history import read_log
from otoscribe.train.settings import PRESETS, TrainingSettings, parse_settings, presets, read_settings
from otoscribe.train.trainer import Experiment, train
from support.tiny_run import CPU, VOCABULARY, settings, split

SMALL = """
[model]
encoder.name = "yamnet"
adapter.name = "mlp"
words.name = "random"
[training]
seed = 3
"""


def test_a_file_is_read_and_what_it_leaves_out_is_the_papers(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SMALL)
    found = read_settings(str(tmp_path / "small.toml"))
    assert found.training == TrainingSettings(seed=3)
    assert found.model.decoder == DecoderSettings()
    assert found.model.encoder.name == "yamnet"


def missing(given: dict[str, Any], whole: BaseModel, place: str = "") -> Iterator[str]:
    """Yield the settings that a file leaves to their defaults, unless that is None."""
    for name in type(whole).model_fields:
        value = getattr(whole, name)
        if isinstance(value, BaseModel):
            yield from missing(given.get(name, {}), value, f"{place}{name}.")
        elif name not in given and value is not None:
            yield f"{place}{name}"


@pytest.mark.parametrize("name", presets())
def test_a_preset_states_every_setting(name: str) -> None:
    given = tomllib.loads((PRESETS / f"{name}.toml").read_text())
    assert list(missing(given, read_settings(name))) == []


def test_defaults_are_those_of_the_papers_preset() -> None:
    assert presets() == ["paper", "paper-128"]
    paper = read_settings("paper")
    assert paper.training == TrainingSettings()
    assert paper.model.decoder == DecoderSettings()
    assert paper.model.adapter == AttentionSettings()
    assert paper.model.words == RandomSettings()
    narrow = read_settings("paper-128")
    assert narrow.training == paper.training
    decoder = narrow.model.decoder
    assert (decoder.d_model, decoder.heads, decoder.head_dim, decoder.ff) == (128, 4, 32, 128)


@pytest.mark.parametrize("name", presets())
def test_a_preset_trains_a_step(name: str, tmp_path: Path) -> None:
    preset, tiny = read_settings(name), settings()
    chosen = tiny.model_copy(
        update={
            "model": preset.model.model_copy(update={"encoder": tiny.model.encoder}),
            "training": preset.training.model_copy(update={"maximum_epochs": 1}),
        }
    )
    run = train(Experiment(chosen, VOCABULARY, split(), split(1)), tmp_path, CPU)
    assert [epoch.steps for epoch in read_log(run / "log.csv")] == [1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("papper", r"There is no preset named 'papper'\. Did you mean 'paper'\? Known: paper, paper-128\."),
        ("settings.json", r"name a file that ends in \.toml, not settings\.json"),
        ("nowhere.toml", r"The settings in nowhere\.toml cannot be read: no such file or directory\. Name a"),
        (".", "There is no preset named"),
    ],
)
def test_what_is_neither_preset_nor_file_is_misuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(UsageError, match=message):
        read_settings(name)


def test_a_preset_is_meant_where_a_file_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paper").mkdir()
    assert read_settings("paper").training == TrainingSettings()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "are not TOML with plain values"),
        (b"\xff\xfe", "are not TOML with plain values"),
        (SMALL.encode() + b"learning_rate = nan", "are not TOML with plain values"),
        (SMALL.encode() + b"learning_rate = inf", "are not TOML with plain values"),
        (SMALL.encode() + b"learning_rate = 2026-01-01", "are not TOML with plain values"),
        (
            SMALL.encode() + b"speed = 1",
            r"cannot be used\. training\.speed: there is no such setting\.",
        ),
        (SMALL.encode() + b"beta1 = 1", r"training\.beta1: Input should be less than 1\."),
        (b"[training]\nseed = -1", r"model: Field required; training\.seed: Input should be greater"),
        (b"", r"cannot be used\. model: Field required\."),
    ],
)
def test_settings_that_cannot_be_used_are_told_by_their_place(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=message):
        read_settings(str(path))


def test_settings_of_a_variant_are_told_by_their_place() -> None:
    text = """{"training": {}, "model": {"encoder": {"name": "yamnet"}, "words": {"name": "random"},
        "adapter": {"name": "mlp", "hidden": 0, "depth": 2}}}"""
    expected = (
        "The settings in settings.json cannot be used. model.adapter.hidden: Input should be greater than 0; "
        "model.adapter.depth: there is no such setting."
    )
    with pytest.raises(SettingsError) as raised:
        parse_settings(text, Path("settings.json"))
    assert str(raised.value) == expected
