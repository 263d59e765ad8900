"""From the shell to the caption of a 10 s recording, beside the imports that other captioners begin with."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.compare import Peer, Result, Work, compare, cores
from bench.material import noise

IMPORTS = "import torch, transformers"
TARGET = 3.0


def results(threads: int, quick: bool) -> Iterator[Result]:
    """Measure both as new processes; the files of both are in the system's cache."""
    with tempfile.TemporaryDirectory() as folder:
        path = noise(Path(folder) / "noise.wav", 10.0)
        command = [sys.executable, "-m", "otoscribe", "caption", str(path), "--threads", str(threads)]

        def check() -> None:
            assert _output(command).strip(), "there was no caption"

        yield from compare(
            Work(
                name="shell to caption",
                setting=f"10 s, {cores(threads)}",
                ours=lambda part: _output(command),
                peers=[
                    Peer(
                        f'python -c "{IMPORTS}"',
                        lambda part: _output([sys.executable, "-c", IMPORTS]),
                        TARGET,
                    )
                ],
                check=check,
                rounds=2 if quick else 9,
            )
        )


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
