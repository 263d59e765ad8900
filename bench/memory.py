"""Peak memory of captioning recordings of different lengths, each by a command of its own.

A recording that is refused is reported, and not measured.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from bench.compare import OURS, Result, cores, rated

MINUTES = (5, 30, 180)
LIMIT = 1000.0
"""MB."""
RATE = 16000
PROGRAM = """
import resource, sys
from otoscribe.cli.main import main
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, file=sys.stderr)
"""


def results(threads: int, quick: bool) -> Iterator[Result]:
    """Measure each length once, as memory is hardly disturbed by others."""
    first: float | None = None
    for minutes in MINUTES[:2] if quick else MINUTES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "noise.flac"
            write(path, minutes)
            command = [sys.executable, "-c", PROGRAM, "caption", str(path), "--threads", str(threads)]
            ran = subprocess.run(command, capture_output=True, text=True)
        *said, peak = ran.stderr.splitlines()
        assert ran.returncode == 0, f"{minutes} minutes: {' '.join(said)}"
        assert ran.stdout.strip(), f"{minutes} minutes got no caption"
        costs = {OURS: [float(peak)], "a limit of 1 GB": [LIMIT]}
        if first is not None:
            costs[f"{MINUTES[0]} minutes"] = [first]
        first = first or float(peak)
        # Flat in length: what is longer takes no more.
        targets = dict(zip(list(costs)[1:], (1.0, 0.95), strict=False))
        yield from rated("peak memory", f"{minutes} minutes, {cores(threads)}", costs, targets, "MB")


def write(path: Path, minutes: int) -> None:
    """Write noise, which changes from minute to minute."""
    generator = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for _ in range(minutes):
            file.write(generator.standard_normal(60 * RATE) * generator.uniform(0.01, 0.2))
