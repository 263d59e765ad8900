"""`otoscribe metrics install`: what it prints, where it installs, and how it fails."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from otoscribe.cli.metrics import metrics
from otoscribe.errors import DownloadError, UsageError
from otoscribe.fetch.published import PublishedFile
from otoscribe.metrics.java.spice_files import SpiceFiles
from support.file_server import FileServer


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OTOSCRIBE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "spice"


def test_spice_is_installed_from_a_folder(shared_data: Path, folder: Path) -> None:
    for _ in range(2):
        result = CliRunner().invoke(metrics, ["install", "--from", str(shared_data / "spice")])
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == f"Installed in {folder}\n"
        assert SpiceFiles().missing() == []


def test_what_is_installed_needs_no_network(
    shared_data: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SpiceFiles().install_from(shared_data / "spice")
    monkeypatch.setitem(sys.modules, "requests", None)
    result = CliRunner().invoke(metrics, ["install"])
    assert (result.exit_code, result.stdout) == (0, f"Installed in {folder}\n")


def test_a_folder_that_is_not_there_is_misuse(tmp_path: Path) -> None:
    result = CliRunner().invoke(metrics, ["install", "--from", str(tmp_path / "nothing")])
    assert isinstance(result.exception, UsageError)


@pytest.fixture
def networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Plant two small files in the place of FENSE's networks, and serve them."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FileServer() as server:
        server.files = {"/v1/detector.ckpt": b"one", "/main/model.safetensors": b"two"}
        files = [
            PublishedFile(
                name, (f"{server.url}{path}",), None, f"sha256:{hashlib.sha256(content).hexdigest()}"
            )
            for name, (path, content) in zip(
                ("detector.ckpt", "encoder.safetensors"), server.files.items(), strict=True
            )
        ]
        monkeypatch.setattr("otoscribe.metrics.fense.networks.FILES", files)
        yield server


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_fense_is_installed_from_the_network(networks: FileServer, tmp_path: Path) -> None:
    pytest.importorskip("requests", reason="requests comes with otoscribe[metrics]")
    folder = tmp_path / "cache" / "fense"
    for _ in range(2):
        result = CliRunner().invoke(metrics, ["install", "--fense"])
        assert (result.exit_code, result.stdout) == (0, f"Installed in {folder}\n")
    assert contents(folder) == {"detector.ckpt": b"one", "encoder.safetensors": b"two"}
    assert len(networks.asked) == 4  # each once for the size, and once for the file
    networks.stop()
    (folder / "detector.ckpt").unlink()
    result = CliRunner().invoke(metrics, ["install", "--fense"])
    assert isinstance(result.exception, DownloadError)
    assert str(result.exception).endswith(
        f"Without a network: copy {networks.url}/v1/detector.ckpt and {networks.url}/main/model.safetensors "
        "into a folder, and type: otoscribe metrics install --fense --from FOLDER"
    )


def test_fense_is_installed_from_a_folder(networks: FileServer, tmp_path: Path) -> None:
    (tmp_path / "encoder.safetensors").write_bytes(b"two")
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong" / "detector.ckpt").write_bytes(b"!!!")
    for source, problem in (
        (tmp_path, "has no detector.ckpt. Copy http"),
        (tmp_path / "wrong", "not what was published"),
    ):
        result = CliRunner().invoke(metrics, ["install", "--fense", "--from", str(source)])
        assert isinstance(result.exception, DownloadError)
        assert problem in str(result.exception)
    (tmp_path / "detector.ckpt").write_bytes(b"one")
    (tmp_path / "encoder.safetensors").rename(tmp_path / "model.safetensors")
    for _ in range(2):
        result = CliRunner().invoke(metrics, ["install", "--fense", "--from", str(tmp_path)])
        assert result.exit_code == 0
        assert contents(tmp_path / "cache" / "fense") == {
            "detector.ckpt": b"one",
            "encoder.safetensors": b"two",
        }
    assert networks.asked == []


def test_help_waits_for_nothing() -> None:
    program = (
        "import sys, otoscribe.cli.metrics\n"
        "print([name for name in ('requests', 'numpy', 'rich.progress') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
