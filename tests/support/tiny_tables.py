"""Tables of captioned recordings that tests write: tones, each with captions of its pitch."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from support.recordings import write
from support.tiny_encoder import SAMPLE_RATE


def tone(path: Path, hertz: float, seconds: float = 0.5) -> Path:
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    path.parent.mkdir(parents=True, exist_ok=True)
    return write(path, (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32), SAMPLE_RATE)


def write_table(path: Path, rows: Mapping[str, Sequence[str]]) -> Path:
    """Write a table in the layout of Clotho."""
    most = max(map(len, rows.values()))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file_name", *(f"caption_{number}" for number in range(1, most + 1))])
        table.writerows([name, *captions, *[""] * (most - len(captions))] for name, captions in rows.items())
    return path


TRAINING = {
    "low.wav": ["a low tone hums", "a low hum"],
    "middle.wav": ["a clear tone sounds", "a tone rings"],
    "high.wav": ["a high whistle sounds", "a high tone"],
    "long.wav": ["a long low tone hums on"],
}
VALIDATION = {"other.wav": ["a tone whines", "whining"], "last.wav": ["a low buzz"]}
HERTZ = {
    "low.wav": 110,
    "middle.wav": 440,
    "high.wav": 1760,
    "long.wav": 120,
    "other.wav": 900,
    "last.wav": 100,
}


def write_tables(folder: Path) -> tuple[Path, Path]:
    """Write the recordings with a table for training, and one for validation."""
    for name, hertz in HERTZ.items():
        tone(folder / name, hertz, 1.2 if name == "long.wav" else 0.5)
    return write_table(folder / "training.csv", TRAINING), write_table(folder / "validation.csv", VALIDATION)
