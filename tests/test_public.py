"""What `import otoscribe` promises: these names, lazily, typed, and no others."""

import dataclasses
import importlib.metadata
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import otoscribe
from otoscribe import errors


def test_the_public_names_are_these() -> None:
    classes = ["Candidate", "Caption", "Captioner", "EncodedClip", "Failure", "Search"]
    assert otoscribe.__all__ == [*classes, "__version__", "caption"]
    for name in classes:
        assert getattr(otoscribe, name).__name__ == name
    assert callable(otoscribe.caption)


def test_other_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Bundle'"):
        _ = otoscribe.Bundle  # type: ignore[attr-defined]


def test_every_public_thing_has_a_docstring() -> None:
    for name in otoscribe.__all__:
        thing = getattr(otoscribe, name)
        if name == "__version__":
            continue
        assert inspect.getdoc(thing)
        if inspect.isclass(thing):
            members = [value for key, value in vars(thing).items() if not key.startswith("_")]
            documented = [
                value for value in members if inspect.isfunction(value) or isinstance(value, property)
            ]
            assert all(inspect.getdoc(value) for value in documented)


def test_results_cannot_be_changed() -> None:
    for kind in (otoscribe.Candidate, otoscribe.Caption, otoscribe.Failure):
        assert dataclasses.fields(kind)
        assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]


def test_both_ways_to_caption_a_file_take_the_same_options() -> None:
    ours = inspect.signature(otoscribe.caption).parameters
    theirs = dict(inspect.signature(otoscribe.Captioner.caption).parameters)
    del theirs["self"]
    assert list(ours) == list(theirs)
    for name, parameter in ours.items():
        assert (parameter.kind, parameter.default) == (theirs[name].kind, theirs[name].default)


def test_the_version_is_the_installed_one() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", otoscribe.__version__)
    assert importlib.metadata.version("otoscribe") == otoscribe.__version__


def test_types_are_for_users_too() -> None:
    assert (Path(otoscribe.__file__).parent / "py.typed").is_file()


def test_importing_waits_for_nothing() -> None:
    code = (
        "import otoscribe, sys; print([n for n in ('numpy', 'onnxruntime', 'pydantic') if n in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_every_error_is_an_otoscribe_error_with_an_exit_code() -> None:
    kinds = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if kind.__module__ == errors.__name__ and not issubclass(kind, (Warning, SystemExit))
    ]
    assert len(kinds) == 10
    for kind in kinds:
        assert issubclass(kind, errors.OtoscribeError)
        assert kind.exit_code == (2 if issubclass(kind, errors.UsageError) else 1)
        assert kind.__name__ in (errors.__doc__ or "")
