"""Variants by name: files of the package, entry points of others, and classes in a user's own file."""

import importlib.metadata
import sys
from pathlib import Path

import pytest

from otoscribe.errors import Terminated, UsageError
from otoscribe.model.adapters.base import ADAPTERS, Adapter
from otoscribe.model.encoders.base import ENCODERS
from otoscribe.model.words.base import WORDS
from otoscribe.registry import Registry

OWN = """
from otoscribe.model.adapters.base import Adapter
from otoscribe.model.adapters.mlp import Mlp

class Mine(Mlp):
    pass

class Bare(Adapter):
    pass

class Wrong(Mlp):
    Settings = dict

SOMETHING = 3
"""


@pytest.fixture
def own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_variant.py").write_text(OWN)
    monkeypatch.delitem(sys.modules, "own_variant", raising=False)
    return tmp_path


def test_every_file_of_the_folder_is_a_variant() -> None:
    assert list(ADAPTERS) == ["attention", "evidence", "identity", "mlp"]
    for registry in (ADAPTERS, ENCODERS, WORDS):
        for name in registry:
            variant = registry[name]
            assert variant.__module__.endswith(f".{name}")
            assert variant.Settings.model_fields["name"].default == name


def test_a_variant_is_imported_when_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "kinds").mkdir()
    (tmp_path / "kinds" / "__init__.py").touch()
    (tmp_path / "kinds" / "base.py").write_text("class Kind: ...")
    (tmp_path / "kinds" / "one.py").write_text(
        "from kinds.base import Kind\nfrom kinds.two import Two\nclass One(Kind): ..."
    )
    (tmp_path / "kinds" / "two.py").write_text("from kinds.base import Kind\nclass Two(Kind): ...")
    (tmp_path / "kinds" / "three.py").write_text("raise RuntimeError('imported')")
    from kinds.base import Kind  # type: ignore[import-not-found]

    registry: Registry[Kind] = Registry("kind", Kind, "kinds")
    assert list(registry) == ["one", "three", "two"]
    assert registry["one"].__name__ == "One"
    assert "kinds.three" not in sys.modules


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(UsageError, match=r"no adapter named 'mpl'\. Did you mean 'mlp'\? Known: attention, "):
        ADAPTERS["mpl"]
    with pytest.raises(UsageError, match="no adapter named 'base'"):
        ADAPTERS["base"]


def test_a_class_in_a_file_of_the_current_folder(own_file: Path) -> None:
    found = ADAPTERS["own_variant:Mine"]
    assert issubclass(found, Adapter)
    assert found.__name__ == "Mine"
    assert str(own_file) not in sys.path


def test_an_entry_point_of_an_installed_package(own_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = importlib.metadata.EntryPoint("mine", "own_variant:Mine", "otoscribe.model.adapters")
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda group: [entry] if group == entry.group else []
    )
    assert ADAPTERS["mine"].__name__ == "Mine"
    assert "mine" in list(ADAPTERS)
    assert "mine" not in list(WORDS)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("own_variant:SOMETHING", "'own_variant:SOMETHING' is no adapter: name a class that extends"),
        (
            "own_variant:Mne",
            r"named 'own_variant:Mne'\. Did you mean 'own_variant:Mine'\? Known: own_variant:B",
        ),
        ("otoscribe.model.adapters.base:Adapter", "is no adapter"),
        ("otoscribe.registry:Nothing", "is no adapter"),
        ("otoscribe.model.words.random:RandomWords", "is no adapter"),
        ("no_such_file:Mine", "There is no adapter named 'no_such_file:Mine': no module no_such_file lies"),
        ("own_variant.more:Mine", "no module own_variant.more lies in this folder"),
        ("unfinished:Needy", "cannot be imported: ModuleNotFoundError: No module named 'no_such_library'"),
        (
            "own_variant:Bare",
            "'own_variant:Bare' does not define forward and Settings as otoscribe.model.adap",
        ),
        ("own_variant:Wrong", "'own_variant:Wrong' does not define Settings as "),
        ("broken:Mine", "cannot be imported: ZeroDivisionError"),
        (":Mine", "cannot be imported"),
        ("own_variant:", "There is no adapter named 'own_variant:'"),
    ],
)
def test_what_is_no_variant_is_refused_in_a_sentence(own_file: Path, name: str, said: str) -> None:
    (own_file / "broken.py").write_text("1 / 0")
    (own_file / "unfinished.py").write_text("import no_such_library")
    with pytest.raises(UsageError, match=said):
        ADAPTERS[name]


def test_being_told_to_end_is_no_fault_of_the_module_that_is_imported(own_file: Path) -> None:
    (own_file / "slow_to_import.py").write_text(
        "from otoscribe.errors import Terminated\nraise Terminated(143)"
    )
    with pytest.raises(Terminated):
        ADAPTERS["slow_to_import:Mine"]
    (own_file / "leaving.py").write_text("raise SystemExit(3)")
    with pytest.raises(UsageError, match="cannot be imported: SystemExit: 3"):
        ADAPTERS["leaving:Mine"]
