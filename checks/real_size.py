"""What embedding and training need at the size of Clotho: time, memory, disk.

    python -m checks.real_size            3,839 made recordings of 15 to 30 s with the captions of Clotho
    python -m checks.real_size 50         the first 50 of them
    python -m checks.real_size 3839 2     with 2 processes that embed at the same time

The recordings are noise with the names, captions, sample rate and lengths of Clotho's development split, in
one folder with the table. They and their embeddings are made anew at each call, in `runs/real-size/`, and
take 8 GB and 1 GB. Validation is on the first 200 of them, as only time and memory count.
"""

import csv
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import numpy as np
import soundfile

from checks.material import DATA
from otoscribe.text.tables import Captions, read_references

FOLDER = Path("runs/real-size")
SAMPLE_RATE = 44100
VALIDATION = 200
SETTINGS = """
[model]
encoder = {name = "yamnet", overlap = 0.5}
adapter = {name = "attention"}
words = {name = "random"}

[training]
maximum_epochs = 2
"""


def main(count: int, writers: int) -> None:
    """Make the recordings, embed and train; print what it took."""
    captions = dict(
        list(read_references(DATA / "captions" / "clotho_captions_development.csv").items())[:count]
    )
    shutil.rmtree(FOLDER, ignore_errors=True)
    seconds = make(captions)
    validation = dict(list(captions.items())[:VALIDATION])
    write_table(FOLDER / "recordings" / "captions.csv", captions)
    write_table(FOLDER / "recordings" / "validation.csv", validation)
    (FOLDER / "settings.toml").write_text(SETTINGS, encoding="utf-8")
    print(f"{count} recordings, {seconds / 3600:.1f} h, {size(FOLDER / 'recordings') / 1e9:.2f} GB")
    # Of both tables, whose fingerprints training takes: what is read once is in the system's cache.
    embed: list[str | Path] = ["embed", FOLDER / "settings.toml", FOLDER / "recordings" / "captions.csv"]
    places: list[str | Path] = [
        "--weights",
        DATA / "weights",
        "--features",
        FOLDER / "features",
        "--threads",
        "1",
    ]
    measured(f"embed, {writers} processes", [[*embed, *places]] * writers)
    print(f"embeddings: {size(FOLDER / 'features') / 1e6:.0f} MB")
    measured("embed again", [[*embed, *places]])
    measured("store verify", [["store", "verify", FOLDER / "features"]])
    train: list[str | Path] = [
        "train",
        FOLDER / "settings.toml",
        "--clips",
        embed[2],
        "--runs",
        FOLDER / "runs",
        *places,
    ]
    measured("train, 2 epochs", [[*train, "--validation", FOLDER / "recordings" / "validation.csv"]])
    for file in sorted((FOLDER / "runs").glob("*/*")):
        print(f"  {file.name}: {file.stat().st_size / 1e6:.1f} MB")


def make(captions: Captions) -> float:
    """Write a recording for each name; return how many seconds they last together."""
    (FOLDER / "recordings").mkdir(parents=True)
    total = 0.0
    for number, name in enumerate(captions):
        generator = np.random.default_rng(number)
        samples = round(generator.uniform(15, 30) * SAMPLE_RATE)
        # Random values of its own at the beginning and a quiet copy after it: as good as noise, and faster.
        noise = np.tile(generator.standard_normal(SAMPLE_RATE).astype(np.float32) * 0.1, 30)[:samples]
        noise *= np.linspace(1, 0.2, samples, dtype=np.float32)
        soundfile.write(FOLDER / "recordings" / name, noise, SAMPLE_RATE, "PCM_16")
        total += samples / SAMPLE_RATE
    return total


def write_table(path: Path, captions: Captions) -> None:
    """Write a table in Clotho's layout."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file_name", *(f"caption_{number}" for number in range(1, 6))])
        table.writerows([name, *texts] for name, texts in captions.items())


def measured(what: str, commands: list[list[str | Path]]) -> None:
    """Run commands of otoscribe at the same time, and print what they took."""
    start = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen([sys.executable, "-m", "otoscribe", *map(str, command)], env=environment)
        for command in commands
    ]
    peaks = [Peaks(process.pid) for process in running]
    codes = [process.wait() for process in running]
    if any(codes):
        raise SystemExit(f"{what} failed.")
    seconds = time.perf_counter() - start
    for peak in peaks:
        peak.join()
    own, mapped = (max(getattr(peak, name) for peak in peaks) for name in ("own", "mapped"))
    print(f"{what}: {seconds:.1f} s, {own:.0f} MB of its own and up to {mapped:.0f} MB of mapped files each")


class Peaks(Thread):
    """Looks at the memory of a process until it ends, in MB."""

    def __init__(self, process: int) -> None:
        super().__init__()
        self.process, self.own, self.mapped = process, 0.0, 0.0
        self.start()

    def run(self) -> None:
        """Look ten times a second."""
        while True:
            try:
                lines = Path(f"/proc/{self.process}/status").read_text().splitlines()
            except OSError:
                return
            values = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Rss")}
            if not values:  # ended
                return
            self.own = max(self.own, int(values["RssAnon"]) / 1e3)
            self.mapped = max(self.mapped, int(values["RssFile"]) / 1e3)
            time.sleep(0.1)


def size(folder: Path) -> int:
    """Return how many bytes a folder has."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    main(*[*arguments, *(3839, 1)[len(arguments) :]])
