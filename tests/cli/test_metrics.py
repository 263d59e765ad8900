"""`otoscribe metrics install`: what it prints, where it installs, and how it fails."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from otoscribe.cli.metrics import metrics
from otoscribe.errors import UsageError
from otoscribe.metrics.spice_files import SpiceFiles


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OTOSCRIBE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "spice"


def test_spice_is_installed_from_a_folder(shared_data: Path, folder: Path) -> None:
    for _ in range(2):
        result = CliRunner().invoke(metrics, ["install", "--from", str(shared_data / "spice")])
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == f"SPICE's files are in {folder}\n"
        assert SpiceFiles().missing() == []


def test_what_is_installed_needs_no_network(
    shared_data: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SpiceFiles().install_from(shared_data / "spice")
    monkeypatch.setitem(sys.modules, "requests", None)
    result = CliRunner().invoke(metrics, ["install"])
    assert (result.exit_code, result.stdout) == (0, f"SPICE's files are in {folder}\n")


def test_a_folder_that_is_not_there_is_misuse(tmp_path: Path) -> None:
    result = CliRunner().invoke(metrics, ["install", "--from", str(tmp_path / "nothing")])
    assert isinstance(result.exception, UsageError)


def test_help_waits_for_nothing() -> None:
    program = (
        "import sys, otoscribe.cli.metrics\n"
        "print([name for name in ('requests', 'numpy', 'rich.progress') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
