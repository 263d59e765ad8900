"""A folder of recordings to a CSV table of captions: one command, beside a loop over the files in PyTorch.

Both have the same model, with YAMNet's real weights and a decoder of random ones, and write captions of 12
words by a beam of 4. Starting is part of ours and not of the peer's.
"""

import csv
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import soundfile
import soxr
import torch

from bench.compare import Peer, Result, Work, compare, cores
from bench.material import SHARP, bundle, model, noise, settings, vocabulary
from bench.plain import captioned
from checks.material import DATA
from otoscribe.model.caption_model import CaptionModel
from otoscribe.model.encoders.base import Encoder, load_encoder
from otoscribe.search.options import Search

CLIPS, FEW = 1000, 200
SECONDS = 4.0
SEARCH = Search(beam=4, minimum_words=12, maximum_words=12)
TARGET = 5.0


def results(threads: int, quick: bool) -> Iterator[Result]:
    """Measure on made noises of 4 s at 44.1 kHz."""
    torch.set_num_threads(threads)
    clips, chosen = FEW if quick else CLIPS, settings(128, DATA / "weights")
    encoder, made = load_encoder(chosen.model.encoder, DATA / "weights"), model(chosen, SHARP)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        opened = bundle(folder, chosen, SEARCH, DATA / "weights")
        paths = [noise(folder / f"{number:04}.wav", SECONDS, number) for number in range(clips)]

        def ours(part: int = 0) -> Path:
            table = folder / "ours.csv"
            options = ["--format", "csv", "--model", opened, "--output", table, "--threads", threads]
            command = [sys.executable, "-m", "otoscribe", "caption", *paths, *options]
            subprocess.run(list(map(str, command)), check=True, capture_output=True)
            return table

        def theirs(part: int = 0) -> Path:
            return file_by_file(encoder, made, paths, folder / "theirs.csv")

        def check() -> None:
            assert _captions(ours()) == _captions(theirs()), "the captions differ"

        yield from compare(
            Work(
                name=f"{clips} recordings to CSV",
                setting=f"{SECONDS:g} s at 44.1 kHz, beam {SEARCH.beam}, {cores(threads)}",
                ours=ours,
                peers=[Peer("the same model, file by file, torch", theirs, TARGET)],
                check=check,
                rounds=1 if quick else 3,
            )
        )


@torch.inference_mode()
def file_by_file(encoder: Encoder, made: CaptionModel, paths: list[Path], table: Path) -> Path:
    """Caption file after file, and write them as a table."""
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "caption"])
        for path in paths:
            samples, rate = soundfile.read(path, dtype="float32")
            waveform = soxr.resample(samples, rate, encoder.spec.sample_rate)
            memory = made.adapter(encoder.features(torch.from_numpy(waveform)[None]), None).memory
            everywhere = torch.ones(memory.shape[:2], dtype=torch.bool)
            (words,) = captioned(made, memory, everywhere, SEARCH.beam, SEARCH.maximum_words)
            rows.writerow([path, vocabulary().decode(words)])
    return table


def _captions(table: Path) -> dict[str, str]:
    with table.open(encoding="utf-8", newline="") as file:
        return {row["file"]: row["caption"] for row in csv.DictReader(file)}
