"""An encoder, an adapter and words that live outside the package: trained, exported and captioned with."""

import importlib.metadata
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from otoscribe.cli.main import app
from otoscribe.errors import WeightsError
from otoscribe.model.caption_model import ModelSettings
from otoscribe.model.encoders.base import EncoderSettings, load_encoder, weights_of
from otoscribe.search.options import Search
from otoscribe.train.export import export
from support.pages import PROJECT, blocks_of

OWN = '''
from typing import Literal

import torch
from torch import nn

from otoscribe.model.adapters.base import Adapter, AdapterOutput, AdapterSettings
from otoscribe.model.encoders.base import Encoder, EncoderSettings, EncoderSpec
from otoscribe.model.windows import Windows
from otoscribe.model.words.base import WordEmbedding, WordSettings


class LoudnessSettings(EncoderSettings):
    bands: int = 4


class Loudness(Encoder):
    """The loudness of the pieces of every second."""

    Settings = LoudnessSettings
    spec = EncoderSpec(
        name="loudness",
        sample_rate=8000,
        outputs={"embeddings": 4},
    )

    def __init__(self, settings):
        super().__init__(settings)
        self.windows = Windows(8000, 4000 if settings.overlap else 8000)

    def forward(self, waveforms):
        filled = self.windows.fill(waveforms)
        pieces = filled.unfold(1, self.windows.length, self.windows.hop)
        parts = pieces.reshape(pieces.shape[0], -1, self.settings.bands, 8000 // self.settings.bands)
        return {"embeddings": parts.square().mean(-1).add(1e-6).log()}

    def times(self, samples):
        return self.windows.times(samples, self.spec.sample_rate)


class PairsSettings(AdapterSettings):
    width: int = 6


class Pairs(Adapter):
    """Two frames become one place."""

    Settings = PairsSettings

    def __init__(self, settings, width):
        super().__init__(settings, width)
        self.width = settings.width
        self.layer = nn.Linear(width, settings.width)

    def forward(self, features, mask):
        if mask is None:
            mask = torch.ones_like(features[..., 0], dtype=torch.bool)
        clips, frames, _ = features.shape
        own = torch.eye(frames, device=features.device)[::2]
        both = own + nn.functional.pad(own, (1, 0))[:, :frames]
        shares = both * mask[:, None]
        shares = shares / shares.sum(-1, keepdim=True).clamp(min=1.0)
        return AdapterOutput(self.layer(shares @ features), mask[:, ::2], shares)


class LettersSettings(WordSettings):
    width: int = 8


class Letters(WordEmbedding):
    """A word is the mean of vectors of its letters, a little of the word before it added."""

    Settings = LettersSettings

    def __init__(self, settings, words):
        super().__init__(settings, words)
        self.width = settings.width
        self.letters = nn.Embedding(128, settings.width)
        counts = torch.zeros(len(words), 128)
        for row, word in enumerate(words[4:], start=4):
            for letter in word:
                counts[row, min(ord(letter), 127)] += 1 / len(word)
        self.register_buffer("counts", counts, persistent=False)

    def forward(self, history):
        vectors = self.counts[history] @ self.letters.weight
        before = nn.functional.pad(vectors[..., :-1, :], (0, 0, 1, 0))
        return vectors + 0.5 * before

    def newest(self, history):
        return self(history[..., -2:])[..., -1, :]
'''

SETTINGS = """
[model.encoder]
name = "{encoder}"
overlap = 0.5

[model.adapter]
name = "{adapter}"
width = 5

[model.words]
name = "{words}"

[model.decoder]
d_model = 16
heads = 2
head_dim = 8
blocks = 1

[training]
maximum_epochs = 2
learning_rate = 0.01
"""

BY_PATH = {"encoder": "own_things:Loudness", "adapter": "own_things:Pairs", "words": "own_things:Letters"}
BY_ENTRY_POINT = {"encoder": "loudness", "adapter": "pairs", "words": "letters"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's folder: a Python file of their own, recordings and a table; the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_things", raising=False)
    (tmp_path / "own_things.py").write_text(OWN)
    rows = ["file_name,caption_1"]
    for index, caption in enumerate(("a dog barks", "rain falls", "a bird sings")):
        noise = np.random.default_rng(index).normal(size=8000 * (index + 1)) * 0.05 * (index + 1)
        soundfile.write(tmp_path / f"{index}.wav", noise, 8000)
        rows.append(f"{index}.wav,{caption}")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    return tmp_path


def entry_points(names: dict[str, str]) -> Callable[..., list[importlib.metadata.EntryPoint]]:
    kinds = {"encoder": "encoders", "adapter": "adapters", "words": "words"}
    made = [
        importlib.metadata.EntryPoint(name, BY_PATH[kind], f"otoscribe.model.{kinds[kind]}")
        for kind, name in names.items()
    ]
    return lambda group: [entry for entry in made if entry.group == group]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_what_a_package_declares_goes_all_the_way(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = BY_ENTRY_POINT
    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points(names))
    (folder / "own.toml").write_text(SETTINGS.format(**names))
    trained = CliRunner().invoke(app, ["train", "own.toml", "--clips", ".", "--validation", "table.csv"])
    assert trained.exit_code == 0, trained.output
    run = Path(trained.stdout.splitlines()[-1])
    stated = json.loads((run / "settings.json").read_text())["model"]
    assert {kind: stated[kind]["name"] for kind in names} == names
    assert stated["encoder"]["weights"].startswith("sha256:")
    assert stated["adapter"]["width"] == 5
    assert export(run, folder / "bundle", search=Search(beam=2, maximum_words=4)) <= 1e-4
    said = CliRunner().invoke(app, ["caption", "--model", "bundle", "0.wav", "2.wav", "--format", "json"])
    assert said.exit_code == 0, said.output
    assert all(entry["caption"] for entry in json.loads(said.stdout))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_the_files_of_the_page_go_all_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(PROJECT / "examples", target_is_directory=True)
    titled = {block.title: block.text for block in blocks_of("docs/extending.md") if block.title}
    for title, text in titled.items():
        monkeypatch.setitem(sys.modules, Path(title).stem, None)
        del sys.modules[Path(title).stem]
        (tmp_path / title).write_text(text)
    data = ["--clips", "my_dataset:Sounds:train", "--validation", "my_dataset:Sounds:validation"]
    trained = CliRunner().invoke(app, ["train", "own.toml", *data])
    assert trained.exit_code == 0, trained.output
    run = trained.stdout.splitlines()[-1]
    captions = ["evaluate", run, "my_dataset:Sounds:validation", "-o", "captions.csv"]
    assert CliRunner().invoke(app, captions).exit_code == 0
    rows = Path("captions.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["file_name", "clock.flac", "siren.flac"]
    assert export(Path(run), tmp_path / "my-model", search=Search(beam=2, maximum_words=4)) <= 1e-4
    for title in titled:
        Path(title).unlink()
    said = CliRunner().invoke(app, ["caption", "--model", "my-model", "examples/rain.flac"])
    assert said.exit_code == 0, said.output
    assert said.stdout


def test_their_settings_are_checked_as_any(folder: Path) -> None:
    parts = {kind: {"name": name} for kind, name in BY_PATH.items()}
    for kind, wrong in (("encoder", {"bands": "4"}), ("adapter", {"hidden": 3}), ("words", {"width": None})):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ModelSettings.model_validate(parts | {kind: parts[kind] | wrong})
    assert ModelSettings.model_validate(parts).feature_width == 4


DRAWN = """
from own_things import Loudness, nn, torch

class Drawn(Loudness):
    def __init__(self, settings):
        super().__init__(settings)
        self.layer = nn.Linear(2, 2)
        self.layer.bias.data.fill_({bias})
"""


def test_weights_that_an_encoder_draws_are_the_same_every_time(folder: Path) -> None:
    (folder / "own_drawn.py").write_text(DRAWN.format(bias=0.0))
    (folder / "own_changed.py").write_text(DRAWN.format(bias=1.0))
    settings = EncoderSettings(name="own_drawn:Drawn")
    torch.manual_seed(3)
    first = weights_of(load_encoder(settings))
    drawn = torch.rand(1)
    assert weights_of(load_encoder(settings)) == first
    torch.manual_seed(3)
    assert torch.rand(1) == drawn  # it took nothing from what others draw
    with pytest.raises(WeightsError, match="bring back what changed there, or train again"):
        load_encoder(EncoderSettings(name="own_changed:Drawn", weights=first))


BROKEN = {
    "no Settings": (
        "adapter",
        "class Mine(Adapter):\n    def forward(self, f, m): ...",
        "does not define Settings as otoscribe.model.adapters.base.Adapter asks for",
    ),
    "abstract": ("adapter", "class Mine(Adapter):\n    Settings = AdapterSettings", "not define forward as"),
    "no spec": (
        "encoder",
        "class Mine(Encoder):\n    def forward(self, w): ...",
        "does not define times and spec as otoscribe.model.encoders.base.Encoder asks for",
    ),
    "files that nothing reads": (
        "encoder",
        "class Mine(Loudness):\n    def state_of(self, f): return super().state_of({'my.pt': 'my.pt'})",
        "The encoder '.*' failed: NotImplementedError: its spec names files, and it has no state_of",
    ),
    "raises": ("adapter", "class Mine(Pairs):\n    def __init__(self, s, w): 1 / 0", "ZeroDivisionError"),
    "fails": (
        "adapter",
        "class Mine(Pairs):\n    def forward(self, f, m): return f @ f",
        "The adapter '.*' failed: RuntimeError",
    ),
    "no output": ("adapter", "class Mine(Pairs):\n    def forward(self, f, m): return f", "an AdapterOutput"),
    "other width": (
        "adapter",
        "class Mine(Pairs):\n    def forward(self, f, m): return AdapterOutput(f, m)",
        r"memory \[2, places, 5\]",
    ),
    "no sources": (
        "adapter",
        "class Mine(Pairs):\n    def forward(self, f, m): return AdapterOutput(*super().forward(f, m)[:2])",
        "sources, as its places are not the frames",
    ),
    "support without salience": (
        "adapter",
        "class Mine(Pairs):\n    def forward(self, f, m):\n"
        "        return AdapterOutput(*super().forward(f, m)[:3], torch.zeros(len(f), 521))",
        r"salience \[2, sounds, 521\] beside support; it gives NoneType",
    ),
    "salience of other classes": (
        "adapter",
        "class Mine(Pairs):\n    def forward(self, f, m):\n"
        "        known = torch.zeros(len(f), 521), torch.zeros(len(f), 3, 520)\n"
        "        return AdapterOutput(*super().forward(f, m)[:3], *known)",
        r"salience \[2, sounds, 521\] beside support; it gives float32 \[2, 3, 520\]",
    ),
    "words of another shape": (
        "words",
        "class Mine(Letters):\n    def forward(self, h): return super().forward(h)[..., :3]",
        r"vectors \[1, 4, 8\] as float32",
    ),
    "words of whole numbers": (
        "words",
        "class Mine(Letters):\n    def newest(self, h): return h[..., -1:].expand(-1, 8)",
        r"newest \[1, 8\]; it gives float32 \[1, 4, 8\], newest int64",
    ),
    "encoder without the output": (
        "encoder",
        "class Mine(Loudness):\n    def forward(self, w): return {}",
        "must give {'embeddings'",
    ),
    "encoder of a tensor": (
        "encoder",
        "class Mine(Loudness):\n    def forward(self, w): return super().forward(w)['embeddings']",
        "must give a dict with its outputs; it gives Tensor",
    ),
    "encoder of other times": (
        "encoder",
        "class Mine(Loudness):\n    def times(self, samples): return [(0.0, 1.0)]",
        r"must give \{'embeddings': \(2, 1, 4\)\} as float32 for two clips of 1 times; it gives .*\(2, ",
    ),
    "times that are none": (
        "encoder",
        "class Mine(Loudness):\n    def times(self, samples): return samples",
        "must give times as a list of pairs",
    ),
    "encoder of infinite numbers": (
        "encoder",
        "class Mine(Loudness):\n    def forward(self, w): return {'embeddings': self.patches(w)}\n"
        "    def patches(self, w): return super().forward(w)['embeddings'] / 0",
        "must give finite numbers for noise",
    ),
    "encoder that fails on silence": (
        "encoder",
        "class Mine(Loudness):\n    def forward(self, w):\n"
        "        loud = super().forward(w)['embeddings']\n"
        "        return {'embeddings': loud if len(w) > 1 else loud.fill_(torch.nan)}",
        r"Of .*\.wav, the encoder makes numbers that are infinite or none at all",
    ),
    "encoder that raises": (
        "encoder",
        "class Mine(Loudness):\n    def forward(self, w): return w[9]",
        "The encoder '.*' failed: IndexError",
    ),
    "exits": ("encoder", "raise SystemExit(0)", "cannot be imported: SystemExit"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_variant_is_refused_in_a_sentence(folder: Path, case: str) -> None:
    kind, code, message = BROKEN[case]
    (folder / "own_broken.py").write_text(f"from own_things import *\n\n\n{code}\n")
    sys.modules.pop("own_broken", None)
    names = BY_PATH | {kind: "own_broken:Mine"}
    (folder / "own.toml").write_text(SETTINGS.format(**names))
    result = CliRunner().invoke(app, ["train", "own.toml", "--clips", ".", "--validation", "table.csv"])
    assert result.exit_code == (1 if "silence" in case else 2), result.output
    assert re.search(message, result.stderr), result.stderr
    assert result.stderr.count("\n") == 1
