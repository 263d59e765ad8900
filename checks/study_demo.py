"""A small study from sound to report, in minutes and without a download: `make study-demo`.

    python -m checks.study_demo FOLDER    48 runs, a report, and a browser that shows it

The sounds are made here: tones, noise, clicks and sirens, steady, pulsing or fading. The encoder is YAMNet
with weights by a formula, so all scores are marked as made-up.
"""

import argparse
import csv
import webbrowser
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from otoscribe.cli.main import app

RATE = 16000
SECONDS = 2.0
SOUNDS = {"low tone": 150.0, "high tone": 1500.0, "noise": 0.0, "click": 8.0, "siren": 600.0}
WAYS = {"steady": "sounds steadily", "pulsing": "comes and goes", "fading": "fades away"}
BASE = """
[model.encoder]
name = "yamnet"
weights = "formula"

[model.adapter]
name = "mlp"

[model.words]
name = "random"
width = 32

[model.decoder]
d_model = 32
heads = 2
head_dim = 16
blocks = 1

[training]
batch_pairs = 32
learning_rate = 3e-3
maximum_epochs = {epochs}
"""
STUDY = """
name = "demo"
base = "base.toml"
metric = "cider_d"
seeds = {seeds}
made_up = true

[data]
training = "training.csv"
validation = "validation.csv"
evaluation = "evaluation.csv"

[axes]
overlap = [0.0, 0.5]
adapter = ["identity", "mlp"]
words = ["random", "cbow"]
tuned = [false, true]
"""


def write_demo(folder: Path, seeds: int, epochs: int, variants: int) -> Path:
    """Write sounds, tables and study; return the study's file.

    Args:
        folder: made if it is not there.
        seeds: runs of each setting.
        epochs: of each run.
        variants: recordings of each scene to learn from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = np.random.default_rng(0)
    for split, count in (("training", variants), ("validation", 1), ("evaluation", 1)):
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(["file_name", "caption_1", "caption_2"])
            for sound in SOUNDS:
                for way in WAYS:
                    for number in range(count):
                        name = f"{split} {sound} {way} {number}.wav"
                        soundfile.write(folder / name, scene(sound, way, drawn), RATE)
                        table.writerow([name, f"a {sound} {WAYS[way]}", f"{way} {sound}"])
    (folder / "base.toml").write_text(BASE.format(epochs=epochs), encoding="utf-8")
    path = folder / "study.toml"
    path.write_text(STUDY.format(seeds=seeds), encoding="utf-8")
    return path


def scene(sound: str, way: str, drawn: np.random.Generator) -> NDArray[np.float32]:
    """Return a sound in a way, never twice the same, float32 [samples]."""
    time = np.arange(round(SECONDS * RATE)) / RATE
    rate = SOUNDS[sound] * drawn.uniform(0.8, 1.25)
    wave: NDArray[np.floating]
    if sound == "noise":
        wave = drawn.standard_normal(len(time))
    elif sound == "click":
        wave = (np.diff(np.floor(time * rate), prepend=0.0) > 0) * 3.0
    else:
        bend = 150.0 * np.sin(2 * np.pi * 1.5 * time) if sound == "siren" else 0.0
        wave = np.sin(2 * np.pi * np.cumsum(np.full(len(time), rate) + bend) / RATE)
    envelope = {
        "steady": np.ones(len(time)),
        "pulsing": (np.sin(2 * np.pi * drawn.uniform(1.5, 3.0) * time) > 0).astype(float),
        "fading": np.exp(-drawn.uniform(2.0, 3.5) * time),
    }[way]
    faint = 0.01 * drawn.standard_normal(len(time))
    return np.asarray(0.2 * wave * envelope + faint, np.float32)


def main(arguments: Sequence[str] | None = None) -> Path:
    """Make the study, run it, report on it, and show the report; return its page."""
    parser = argparse.ArgumentParser(description="A small study from sound to report.")
    parser.add_argument("folder", type=Path, help="for all that is made; what is there is gone on with")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each setting (3)")
    parser.add_argument("--epochs", type=int, default=20, help="of each run (20)")
    parser.add_argument("--variants", type=int, default=4, help="recordings of each scene to learn from (4)")
    parser.add_argument("--workers", default="2", help="runs at once (2)")
    parser.add_argument("--quiet", action="store_true", help="open no browser")
    chosen = parser.parse_args(arguments)
    study = write_demo(chosen.folder, chosen.seeds, chosen.epochs, chosen.variants)
    where = ["--folder", str(chosen.folder / "study")]
    features = ["--features", str(chosen.folder / "features"), "--workers", chosen.workers]
    app(["study", "run", str(study), *where, *features], standalone_mode=False)
    title = ["--title", "A demonstration: made-up sounds"]
    app(["study", "report", str(study), *where, *title], standalone_mode=False)
    page: Path = chosen.folder / "study" / "report" / "report.html"
    if not chosen.quiet:
        webbrowser.open(page.absolute().as_uri())
    return page


if __name__ == "__main__":
    main()
