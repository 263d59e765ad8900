"""`otoscribe get`: what it lists and prints, where it puts things, and how it fails."""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from otoscribe.cli.main import app
from otoscribe.fetch.published import PublishedFile
from otoscribe.metrics.java.spice_files import SpiceFiles
from support.file_server import FileServer


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OTOSCRIBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache"


PUBLISHED = ["aisfx", "coala", "openl3", "vggish", "yamnet", "yamnet_voice"]
"""Encoders whose weights are files."""


def get(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["get", *map(str, arguments)])


def test_spice_is_installed_from_a_folder(shared_data: Path, cache: Path) -> None:
    for _ in range(2):
        result = get("spice", "--from", shared_data / "spice")
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == f"spice is in {cache / 'spice'}\n"
        assert SpiceFiles().missing() == []


def test_what_is_here_needs_no_network(
    shared_data: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SpiceFiles().install_from(shared_data / "spice")
    monkeypatch.setitem(sys.modules, "requests", None)
    result = get("spice")
    assert (result.exit_code, result.stdout) == (0, f"spice is in {cache / 'spice'}\n")


@pytest.fixture
def networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Plant two small files in the place of FENSE's networks, and serve them."""
    with FileServer() as server:
        server.files = {"/v1/detector.ckpt": b"one", "/main/model.safetensors": b"two"}
        files = tuple(
            PublishedFile(
                name, (f"{server.url}{path}",), None, f"sha256:{hashlib.sha256(content).hexdigest()}"
            )
            for name, (path, content) in zip(
                ("detector.ckpt", "encoder.safetensors"), server.files.items(), strict=True
            )
        )
        monkeypatch.setattr("otoscribe.metrics.fense.networks.FILES", files)
        yield server


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_fense_is_fetched_from_the_network(networks: FileServer, cache: Path) -> None:
    pytest.importorskip("requests", reason="requests comes with otoscribe[metrics]")
    folder = cache / "fense"
    for _ in range(2):
        result = get("fense", "fense")
        assert (result.exit_code, result.stdout) == (0, f"fense is in {folder}\n")
    assert contents(folder) == {"detector.ckpt": b"one", "encoder.safetensors": b"two"}
    assert len(networks.asked) == 4  # each once for the size, and once for the file
    networks.stop()
    (folder / "detector.ckpt").unlink()
    result = get("fense")
    assert result.exit_code == 1
    assert result.stderr.endswith(
        f"Without a network: copy {networks.url}/v1/detector.ckpt and {networks.url}/main/model.safetensors "
        "into a folder, and type: otoscribe get fense --from FOLDER\n"
    )


def test_fense_is_copied_from_a_folder(networks: FileServer, tmp_path: Path) -> None:
    (tmp_path / "encoder.safetensors").write_bytes(b"two")
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong" / "detector.ckpt").write_bytes(b"!!!")
    for source, problem in (
        (tmp_path, "has no detector.ckpt. Copy http"),
        (tmp_path / "wrong", "not what was published"),
    ):
        result = get("fense", "--from", source)
        assert result.exit_code == 1
        assert problem in result.stderr
    (tmp_path / "detector.ckpt").write_bytes(b"one")
    (tmp_path / "encoder.safetensors").rename(tmp_path / "model.safetensors")
    for _ in range(2):
        assert get("fense", "--from", tmp_path).exit_code == 0
        assert contents(tmp_path / "cache" / "fense") == {
            "detector.ckpt": b"one",
            "encoder.safetensors": b"two",
        }
    assert networks.asked == []


def test_an_encoder_is_put_where_training_looks_for_it(shared_data: Path, cache: Path) -> None:
    pytest.importorskip("torch", reason="Encoders need the learning half.")
    from otoscribe.model.encoders.base import load_encoder
    from otoscribe.model.encoders.yamnet import YamnetSettings

    result = get("yamnet", "--from", shared_data / "weights")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"yamnet is in {cache / 'encoders' / 'yamnet'}\n"
    load_encoder(YamnetSettings())


@pytest.mark.parametrize("name", ["aisfx", "coala", "openl3", "vggish"])
def test_without_a_network_it_says_which_file_to_place_where(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="Encoders need the learning half.")
    from otoscribe.model.encoders.base import ENCODERS

    monkeypatch.setenv("OTOSCRIBE_OFFLINE", "1")
    result = get(name)
    assert result.exit_code == 1
    urls = " and ".join(file.urls[0] for file in ENCODERS[name].spec.files[0])
    assert result.stderr == (
        f"Nothing is fetched, because OTOSCRIBE_OFFLINE is set. Without a network: copy {urls} into a "
        f"folder, and type: otoscribe get {name} --from FOLDER\n"
    )


def test_weights_are_found_under_the_name_that_a_browser_gives_them(
    shared_data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch", reason="Encoders need the learning half.")
    from otoscribe.model.encoders.aisfx import AisfxSettings
    from otoscribe.model.encoders.base import load_encoder

    (tmp_path / "checkpoint.pth").symlink_to(shared_data / "weights" / "aisfx_checkpoint.pth")
    assert get("aisfx", "--from", tmp_path).exit_code == 0
    load_encoder(AisfxSettings())


def rows(result: Result) -> dict[str, dict[str, object]]:
    assert (result.exit_code, result.stderr) == (0, "")
    return {row["name"]: row for row in json.loads(result.stdout)}


def test_the_list_says_what_there_is_and_what_is_here(networks: FileServer, cache: Path) -> None:
    pytest.importorskip("torch", reason="Encoders need the learning half.")
    found = rows(get("--format", "json"))
    assert list(found)[:6] == ["spice", "fense", "audiocaps", "clotho", "clotho_v1", "macs"]
    assert {*PUBLISHED, "bert", "fasttext", "glove", "word2vec"} < set(found)
    assert found["clotho"]["folder"] == str(cache / "datasets" / "clotho")
    assert found["spice"] == {
        "name": "spice",
        "purpose": "metrics SPICE and SPIDEr: a parser",
        "bytes": 16_668_005,
        "licence": "GPL-3.0",
        "state": "missing",
        "folder": str(cache / "spice"),
        "needs": None,
    }
    assert found["yamnet"]["folder"] == str(cache / "encoders" / "yamnet")
    assert found["yamnet"]["licence"] == "Apache-2.0"
    assert {row["state"] for row in found.values()} == {"missing"}
    (cache / "fense").mkdir(parents=True)
    for name, content, state in (
        ("detector.ckpt.part", b"o", "partial"),
        ("detector.ckpt", b"one", "partial"),
        ("encoder.safetensors", b"tw!", "partial"),
        ("encoder.safetensors", b"two", "whole"),
    ):
        (cache / "fense" / name).write_bytes(content)
        assert rows(get("--format", "json"))["fense"]["state"] == state
    assert rows(get("fense", "--format", "json"))["fense"]["state"] == "whole"
    assert networks.asked == []
    lines = get().stdout.splitlines()
    assert lines[0].split() == ["name", "what", "for", "size", "licence", "here", "where"]
    assert re.search(rf"  17 MB  GPL-3\.0 +missing  {cache / 'spice'}$", lines[1])
    assert re.search(rf" 706 MB  MIT, Apache-2\.0 +whole    {cache / 'fense'}$", lines[2])
    assert len(lines) == 1 + len(found)


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from otoscribe.cli.main import main
main(sys.argv[1:])
"""


def test_the_list_needs_no_pytorch() -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        start = [sys.executable, "-c", WITHOUT_TORCH, "get", *arguments]
        return subprocess.run(start, capture_output=True, text=True)

    listed = run()
    assert (listed.returncode, listed.stderr) == (0, "")
    lines = listed.stdout.splitlines()
    listed_names = [line.split()[0] for line in lines[1:-1]]
    assert listed_names[:6] == ["spice", "fense", "audiocaps", "clotho", "clotho_v1", "macs"]
    assert {*PUBLISHED, "huggingface", "fasttext", "glove", "word2vec"} < set(listed_names)
    assert lines[-1:] == ["For what is ? here, type: pip install 'otoscribe[train]'"]
    one = run("yamnet")
    assert one.returncode == 1
    assert one.stderr == "otoscribe get needs PyTorch: pip install 'otoscribe[train]'\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["spise"],
            "There is no download named 'spise'. Did you mean 'spice'? Known: aisfx, audiocaps, bert, ",
        ),
        (["huggingface"], "The encoder 'huggingface' has no published weights to get."),
        (["spice", "nothing"], "There is no download named 'nothing'."),
        ([""], "There is no download named ''."),
        (["--from", "FOLDER"], "Say what to get from FOLDER: otoscribe get NAME --from FOLDER."),
        (["spice", "--from", "nothing"], "nothing does not exist."),
        (["fense", "--from", "nothing"], "There is no folder nothing."),
        (["--format", "csv"], "'csv' is not one of 'text', 'json'"),
    ],
)
def test_misuse(arguments: list[str], message: str, cache: Path) -> None:
    result = get(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not cache.exists()


def test_help_waits_for_nothing() -> None:
    program = (
        "import sys, otoscribe.cli.get\n"
        "print([name for name in ('requests', 'numpy', 'torch', 'rich.progress') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
