"""`otoscribe data check`: what it takes, what it prints, and what it returns."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from otoscribe.cli.main import app
from support.recordings import noise, write
from support.tiny_encoder import NAME
from support.tiny_tables import write_tables


def check(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", "check", *map(str, arguments)])


def test_clean_data_return_0(tmp_path: Path) -> None:
    training, validation = write_tables(tmp_path)
    result = check(training, validation)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        f"{training}: 4 recordings, 7 captions, 0.00 h",
        f"{validation}: 2 recordings, 3 captions, 0.00 h",
        "Nothing is missing, broken, or there twice.",
    ]


def test_faults_return_1_and_are_named(tmp_path: Path) -> None:
    training, validation = write_tables(tmp_path)
    (tmp_path / "high.wav").unlink()
    (tmp_path / "low.wav").write_bytes(b"text")
    shutil.copy(tmp_path / "middle.wav", tmp_path / "other.wav")
    result = check(training, validation)
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout.splitlines() == [
        f"{training}: 4 recordings, 7 captions, 0.00 h",
        "  1 missing:",
        "    high.wav",
        "  1 cannot be decoded:",
        result.stdout.splitlines()[4],
        f"{validation}: 2 recordings, 3 captions, 0.00 h",
        "  1 sounds that are there more than once:",
        f"    {training} middle.wav = {validation} other.wav",
    ]
    assert "low.wav" in result.stdout.splitlines()[4]
    found = json.loads(check(training, validation, "--format", "json").stdout)
    assert found["clean"] is False
    assert found["parts"][0]["missing"] == ["high.wav"]
    assert found["duplicates"] == [
        [{"part": str(training), "name": "middle.wav"}, {"part": str(validation), "name": "other.wav"}]
    ]
    assert found["overlap"] == {}


def write_clotho(folder: Path) -> None:
    for number, (split, origin) in enumerate((("development", 7), ("validation", 8), ("evaluation", 7))):
        (folder / split).mkdir(parents=True)
        write(folder / split / f"{number}.wav", noise(0.1, 16000, seed=number))
        (folder / f"clotho_captions_{split}.csv").write_text(f"file_name,caption_1\n{number}.wav,Rain\n")
        (folder / f"clotho_metadata_{split}.csv").write_text(f"file_name,sound_id\n{number}.wav,{origin}\n")


def test_a_data_set_is_checked_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTOSCRIBE_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_clotho(tmp_path / "datasets" / "clotho")
    result = check("clotho")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[:2] == [
        "clotho:development: 1 recordings, 1 captions, 0.00 h",
        "  not the 3839 that were published",
    ]
    assert lines[-2:] == [
        "  1 sounds of Freesound in different parts:",
        "    7: clotho:development 0.wav = clotho:evaluation 2.wav",
    ]
    assert len(check("clotho:validation").stdout.splitlines()) == 2


SETTINGS = f"""
[model]
encoder = {{name = "{NAME}", weights = "formula"}}
adapter.name = "identity"
words.name = "random"
"""
OWN = """
from pathlib import Path
from otoscribe.datasets.corpora.base import Dataset, DatasetSpec
from otoscribe.datasets.folder import Listed

CAPTIONS = {"low.wav": ("a low tone",), "high.wav": ["a high tone", "a whistle"]}

class Tones(Dataset):
    spec = DatasetSpec(name="own_data:Tones", recordings={"all": None, "two": 2, "three": 3})

    def listed(self, split):
        return Listed(Path("table.csv"), Path(), CAPTIONS)

class Bare(Dataset):
    pass

class Failing(Tones):
    def listed(self, split):
        return {}[split]

class Texts(Tones):
    def listed(self, split):
        return Listed(Path("table.csv"), Path(), {"low.wav": "a low tone"})

class Names(Tones):
    def listed(self, split):
        return Listed("table.csv", ".", CAPTIONS)

class Origins(Tones):
    def origins(self, split):
        return 1 / 0
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with recordings, and a data set of one's own in a file; the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_data", raising=False)
    write_tables(tmp_path)
    (tmp_path / "own_data.py").write_text(OWN)


def test_a_data_set_of_ones_own_is_checked_by_module_and_class(own: None) -> None:
    result = check("own_data:Tones:all", "own_data:Tones:two")
    assert result.stdout.splitlines()[:2] == [
        "own_data:Tones:all: 2 recordings, 3 captions, 0.00 h",
        "own_data:Tones:two: 2 recordings, 3 captions, 0.00 h",
    ]
    assert result.exit_code == 1  # as both list the same recordings
    whole = check("own_data:Tones").stdout.splitlines()
    assert whole[2:4] == [
        "own_data:Tones:three: 2 recordings, 3 captions, 0.00 h",
        "  not the 3 that were published",
    ]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "own_dat:Tones:all",
            "There is no data set named 'own_dat:Tones': no module own_dat lies in this fol",
        ),
        ("own_dat:Tones", "no module own_dat lies in this folder or is installed. Known: audiocaps, clotho"),
        ("clotoh:development", "Known: audiocaps, clotho, clotho_v1, macs, wavcaps; or MODULE:CLASS."),
        (
            "own_data:Tone:all",
            "no data set named 'own_data:Tone'. Did you mean 'own_data:Tones'? Known: own_data:B",
        ),
        ("own_data:Listed:all", "'own_data:Listed' is no data set"),
        (
            "own_data:Bare:all",
            "'own_data:Bare' does not define listed and spec as otoscribe.datasets.corpora",
        ),
        ("own_data:Tones:test", "no split of own_data:Tones named 'test'. Known: all, three, two."),
        ("own_data:Failing:all", "The data set 'own_data:Failing:all' failed: KeyError: 'all'."),
        (
            "own_data:Texts:all",
            "'own_data:Texts:all' must give a Listed: table and folder, each a Path, and a",
        ),
        ("own_data:Names:all", "'own_data:Names:all' must give a Listed"),
    ],
)
def test_mistakes_in_a_data_set_of_ones_own_are_sentences(own: None, source: str, message: str) -> None:
    Path("settings.toml").write_text(SETTINGS)
    for arguments in (
        ["data", "check", source],
        ["embed", "settings.toml", source],
        ["evaluate", "runs/none", source, "-o", "captions.csv"],
        ["train", "settings.toml", "--clips", source, "--validation", "own_data:Tones:all"],
    ):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2, result.output
        assert message in result.stderr
        assert result.stderr.count("\n") == 1


def test_origins_that_fail_are_a_sentence(own: None) -> None:
    result = check("own_data:Origins:all")
    assert (result.exit_code, result.stderr) == (
        2,
        "The data set 'own_data:Origins:all' failed: ZeroDivisionError: division by zero.\n",
    )


def test_misuse_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments, code, message in (
        (
            ["clotho:test"],
            2,
            "There is no split of clotho named 'test'. Known: development, evaluation, valid",
        ),
        (["clotho"], 1, "Type: otoscribe get clotho."),
        (["nowhere"], 1, "There is no nowhere."),
        ([], 2, "Missing argument"),
    ):
        result = check(*arguments)
        assert result.exit_code == code
        assert message in result.stderr
