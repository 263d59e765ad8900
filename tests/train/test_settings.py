"""Settings of a run: TOML and presets, and what is wrong with those that cannot be used."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from otoscribe.errors import SettingsError, UsageError
from otoscribe.model.adapters.attention import AttentionSettings
from otoscribe.model.adapters.mlp import MlpSettings
from otoscribe.model.decoder import DecoderSettings
from otoscribe.model.encoders.vggish import VggishSettings
from otoscribe.model.words.glove import GloveSettings
from otoscribe.model.words.random import RandomSettings
from otoscribe.train.settings import PRESETS, TrainingSettings, parse_settings, presets, read_settings

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
    assert presets() == ["modern", "paper", "paper-128"]
    paper = read_settings("paper")
    assert paper.training == TrainingSettings()
    assert paper.model.decoder == DecoderSettings()
    assert paper.model.adapter == AttentionSettings()
    assert paper.model.words == RandomSettings()
    narrow = read_settings("paper-128")
    assert narrow.training == paper.training
    decoder = narrow.model.decoder
    assert (decoder.d_model, decoder.heads, decoder.head_dim, decoder.ff) == (128, 4, 32, 128)


def test_the_modern_preset_says_wherever_it_departs_from_the_papers() -> None:
    paper = dict(stated(tomllib.loads((PRESETS / "paper.toml").read_text())))
    text = (PRESETS / "modern.toml").read_text()
    modern = dict(stated(tomllib.loads(text)))
    expected = [(place, paper.get(place)) for place in modern if modern[place] != paper.get(place)]
    said, table = [], ""
    for line in text.splitlines():
        if named := re.fullmatch(r"\[(.*)\]", line):
            table = named[1]
        elif remark := re.fullmatch(r"(\w+) = .*# paper: (.+?)(\. .*)?", line):
            value = None if remark[2] == "none" else tomllib.loads(f"x = {remark[2]}")["x"]
            said.append((f"{table}.{remark[1]}", value))
    assert said == expected
    assert len(said) > 10


def stated(given: dict[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the settings of a file with their places."""
    for name, value in given.items():
        if isinstance(value, dict):
            yield from stated(value, f"{place}{name}.")
        else:
            yield f"{place}{name}", value


def test_settings_are_changed_one_by_one() -> None:
    """By TOML's values, and by words that need no quotes; the later of two changes counts."""
    changes = (
        *("training.seed=1", "training.seed = 3", "training.schedule=cosine", "model.encoder.overlap=0.0"),
        *("data.precision=float16", 'model.encoder.output="scores"', "model.words.tuned=false"),
        "training.clip_norm=2.0",  # which the file leaves out
        f"model.encoder.weights=sha256:{'0' * 64}",
    )
    paper, found = read_settings("paper"), read_settings("paper", changes)
    training = {"seed": 3, "schedule": "cosine", "clip_norm": 2.0}
    assert found.training == paper.training.model_copy(update=training)
    assert found.data == paper.data.model_copy(update={"precision": "float16"})
    encoder = {"overlap": 0.0, "output": "scores", "weights": f"sha256:{'0' * 64}"}
    assert found.model.encoder == paper.model.encoder.model_copy(update=encoder)
    assert found.model.words == paper.model.words.model_copy(update={"tuned": False})
    assert (found.model.adapter, found.model.decoder) == (paper.model.adapter, paper.model.decoder)


def test_a_table_that_a_file_leaves_out_can_be_changed(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SMALL)
    found = read_settings(
        str(tmp_path / "small.toml"), ["model.decoder.ff=8", "model.adapter={name='identity'}"]
    )
    assert found.model.decoder == DecoderSettings(ff=8)
    assert found.model.adapter.name == "identity"
    assert found.training.seed == 3


@pytest.mark.parametrize("turn", [1, -1])
def test_another_variant_starts_its_table_anew(turn: int) -> None:
    """In either order, so that no change is lost; of the preset's words, it knows no width and no spread."""
    found = read_settings("paper", ["model.words.name=glove", "model.words.tuned=false"][::turn]).model
    assert found.words == GloveSettings(tuned=False)
    assert found.encoder.overlap == 0.5
    other = read_settings("paper", ["model.encoder.name=vggish", "model.adapter.name=mlp"]).model
    assert (other.encoder, other.adapter) == (VggishSettings(), MlpSettings())


def test_the_same_variant_keeps_its_table() -> None:
    assert read_settings("paper", ["model.encoder.name=yamnet"]) == read_settings("paper")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "training.speed=1",
            r"paper\.toml with training\.speed=1 cannot be used\. training\.speed: there is no",
        ),
        ("training.seed=three", r"training\.seed: Input should be a valid integer"),
        ("training.seed=", r"training\.seed: Input should be a valid integer"),
        ("training.seed=1\nx = 2", r"training\.seed: Input should be a valid integer"),
        ("modle.encoder.overlap=0.0", r"cannot be used\. modle: there is no such setting"),
        (
            "name=paper",
            r"cannot be used\. name: there is no such setting \(known: data, model, training\)\.$",
        ),
        ("training.learning_rate=nan", r"with training\.learning_rate=nan are not TOML with plain values"),
        ("training.seed=2026-01-01", r"with training\.seed=2026-01-01 are not TOML with plain values"),
        (
            "training.seed.first=1",
            r"^training\.seed\.first cannot be set, because training\.seed is no table of settings\. "
            r"Set training\.seed itself: training\.seed=VALUE\.$",
        ),
        ("training.seed", r"^'training\.seed' sets nothing\. Write KEY=VALUE, such as training\.seed=3\.$"),
        ("=3", "'=3' sets nothing"),
        ("training..seed=3", "sets nothing"),
    ],
)
def test_changes_that_cannot_be_made_are_misuse(change: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read_settings("paper", [change])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "papper",
            r"There is no preset named 'papper'\. Did you mean 'paper'\? Known: modern, paper, paper-128\.",
        ),
        ("settings.json", r"name a file that ends in \.toml, not settings\.json"),
        ("nowhere.toml", r"The settings in nowhere\.toml cannot be read: no such file or directory\. Name a"),
        (".", "There is no preset named"),
        ("mine", r"There is no preset named 'mine'\. .* Or did you mean the file mine\.toml\?"),
    ],
)
def test_what_is_neither_preset_nor_file_is_misuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.json").write_text("{}")
    (tmp_path / "mine.toml").touch()
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
            r"cannot be used\. training\.speed: there is no such setting \(did you mean seed\?\)\.",
        ),
        (SMALL.encode() + b"beta1 = 1", r"training\.beta1: Input should be less than 1\."),
        (b"[training]\nseed = -1", r"model: Field required; training\.seed: Input should be greater"),
        (b"[train]\nseed = 1", r"train: there is no such setting \(did you mean training\?\)"),
        (
            SMALL.encode() + b"[model.decoder]\nhaeds = 2",
            r"model\.decoder\.haeds: .*\(did you mean heads\?\)",
        ),
        (
            SMALL.replace("mlp", 'mlp"\nencoder.overlap = 50\n#').encode(),
            r"encoder\.overlap: overlap is 0\.0 or",
        ),
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
        "model.adapter.depth: there is no such setting (known: name, hidden)."
    )
    with pytest.raises(SettingsError) as raised:
        parse_settings(text, Path("settings.json"))
    assert str(raised.value) == expected
