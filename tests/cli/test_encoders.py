"""`otoscribe encoders`: what it lists of each, as text and as JSON."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from otoscribe.cli.main import app
from otoscribe.model.encoders.base import ENCODERS, weights_folder


def listed(*arguments: str) -> Result:
    result = CliRunner().invoke(app, ["encoders", *arguments])
    assert (result.exit_code, result.stderr) == (0, "")
    return result


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads(listed("--format", "json").stdout)}


def test_every_encoder_is_listed_with_what_it_is(rows: dict[str, dict[str, Any]]) -> None:
    assert list(rows) == list(ENCODERS)
    assert rows["vggish"] == {
        "name": "vggish",
        "sample_rate": 16000,
        "outputs": {
            "embeddings": 128,
            "rectified": 128,
            "postprocessed": 128,
            "rectified_postprocessed": 128,
        },
        "window_seconds": 0.975,
        "hop_seconds": 0.96,
        "weights": 72_141_184 + 128 * 129,
        "bytes": None,
        "licence": "Apache-2.0",
        "state": "missing",
        "get": "otoscribe get vggish",
        "paper": ENCODERS["vggish"].spec.paper,
    }


@pytest.mark.parametrize(
    ("name", "rate", "width", "window", "hop"),
    [
        ("aisfx", 44100, 512, 2.345, 2.322),
        ("coala", 22000, 1152, 2.257, 2.234),
        ("openl3", 48000, 512, 1.0, 1.0),
        ("yamnet", 16000, 1024, 0.975, 0.96),
        ("yamnet_voice", 16000, 524, 0.975, 0.96),
    ],
)
def test_rate_width_window_and_hop(
    rows: dict[str, dict[str, Any]], name: str, rate: int, width: int, window: float, hop: float
) -> None:
    row = rows[name]
    # The width is that of the output that is the default.
    assert next(iter(row["outputs"].values())) == width
    assert (row["sample_rate"], row["window_seconds"], row["hop_seconds"]) == (rate, window, hop)


def test_what_depends_on_the_model_is_unknown(rows: dict[str, dict[str, Any]]) -> None:
    unknown = {name for name, value in rows["huggingface"].items() if value is None}
    assert unknown == {
        *("sample_rate", "window_seconds", "hop_seconds", "weights", "bytes", "state", "get"),
    }


def test_the_table_says_what_is_here(shared_data: Path) -> None:
    def line_of(name: str) -> list[str]:
        (line,) = (line for line in listed().stdout.splitlines() if line.startswith(f"{name} "))
        return line.split()

    shown = "aisfx 44100 512 2.35 s 2.32 s 4.9 M 25 MB CC-BY-4.0 missing otoscribe get aisfx"
    assert " ".join(line_of("aisfx")) == shown
    folder = weights_folder("aisfx")
    folder.mkdir(parents=True)
    (folder / "aisfx_checkpoint.pth").symlink_to(shared_data / "weights" / "aisfx_checkpoint.pth")
    assert "whole" in line_of("aisfx")
    assert line_of("huggingface")[1:7] == ["?"] * 6
    assert line_of("vggish")[-5:] == ["Apache-2.0", "missing", "otoscribe", "get", "vggish"]


def test_it_needs_the_learning_half() -> None:
    program = (
        "import sys; sys.modules['torch'] = None\nfrom otoscribe.cli.main import main; main(['encoders'])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.returncode == 1
    assert ran.stderr == "otoscribe encoders needs PyTorch: pip install 'otoscribe[train]'\n"
