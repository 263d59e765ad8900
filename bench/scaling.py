"""How time grows with batches, beams, numbers of clips and lengths of recordings.

Ours beside the same in plain PyTorch, where there is such a way.

    python -m bench.scaling              on all cores; some minutes
    python -m bench.scaling --threads 1

Writes `scaling.png` and `scaling.json` to `bench/results/`. Everything takes turns, and is done three times.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from bench import folder as many
from bench.captioners import TorchCaptioner
from bench.compare import OURS, Peer, Work, measure
from bench.decoding import Decoding
from bench.material import SHARP, bundle, features, model, noise, settings, vocabulary
from bench.material import captions as references
from bench.report import RESULTS, machine
from bench.training import CLIPS, OurStepping, Stepping
from checks.material import DATA
from otoscribe.bundle.bundle import Bundle
from otoscribe.files import write_text, written_whole
from otoscribe.listen.captioner import Captioner
from otoscribe.model.encoders.base import load_encoder
from otoscribe.processors import cores
from otoscribe.search.options import Search
from otoscribe.train.batches import Split

PLAIN = "plain PyTorch"
WIDTH = 128
PAIRS = (16, 32, 64, 128, 256, 512)
BEAMS = (1, 2, 4, 8, 16)
TOGETHER = (1, 2, 4, 8, 16, 32, 64)
FILES = (1, 4, 16, 64)
SECONDS = (5, 10, 30, 60, 300, 900)


class Curve(NamedTuple):
    """How long each way takes."""

    title: str
    axis: str
    places: Sequence[int]
    seconds: dict[str, list[float]]
    """By way, at each place; the median of the rounds."""


Way = Callable[[], object]


def curve(title: str, axis: str, places: Sequence[int], ways: Callable[[int], dict[str, Way]]) -> Curve:
    """Time the ways at each place, in turn."""
    seconds: dict[str, list[float]] = {}
    for place in places:
        print(f"{title}: {place} {axis}", flush=True)
        parts = {way: _part(run) for way, run in ways(place).items()}
        ours = parts.pop(OURS)
        peers = [Peer(way, run) for way, run in parts.items()]
        for way, rounds in measure(Work(title, axis, ours, peers, _nothing, rounds=3)).items():
            seconds.setdefault(way, []).append(statistics.median(rounds))
    return Curve(title, axis, places, seconds)


def _part(run: Way) -> Callable[[int], object]:
    return lambda part: run()


def _nothing() -> None:
    """Check nothing: the rows of the bench compare the results of the same ways."""


def curves(threads: int) -> Iterator[Curve]:
    """Measure with so many threads."""
    torch.set_num_threads(threads)
    yield curve("Training step, width 128", "pairs", PAIRS, training())
    made = model(settings(WIDTH), SHARP)
    with tempfile.TemporaryDirectory() as name:
        opened = Bundle.open(bundle(Path(name), settings(WIDTH), Search()), threads)

        def decoding(beam: int, clips: int) -> dict[str, Way]:
            work = Decoding(made, opened, None, beam, clips)  # BART is not asked
            return {OURS: work.ours, PLAIN: work.plain}

        yield curve("Captions of 20 words, 8 clips", "beam", BEAMS, lambda beam: decoding(beam, 8))
        yield curve("Captions of 20 words, beam 3", "clips", TOGETHER, lambda clips: decoding(3, clips))
    yield from recordings(threads)


def training() -> Callable[[int], dict[str, Way]]:
    """Return the ways to make a step of so many pairs."""
    words = [[vocabulary().encode(text) for text in clip] for clip in references()[:CLIPS]]
    split = Split(features(CLIPS), words)
    pairs = [(split.features[clip], text) for clip, texts in enumerate(words) for text in texts]

    def ways(count: int) -> dict[str, Way]:
        made = model(settings(WIDTH)).train()
        ours = OurStepping(made, split, "float32", count)
        plain = Stepping(TorchCaptioner(made), pairs, "float32", count)
        return {OURS: _first_steps(ours), PLAIN: _first_steps(plain)}

    return ways


def _first_steps(stepping: Callable[[int], None]) -> Way:
    def run() -> None:
        for part in range(3):
            stepping(part)

    return run


def recordings(threads: int) -> Iterator[Curve]:
    """Measure captions of files and of long waveforms, with YAMNet."""
    chosen = settings(WIDTH, DATA / "weights")
    encoder, made = load_encoder(chosen.model.encoder, DATA / "weights"), model(chosen, SHARP)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        captioner = Captioner(bundle(place, chosen, many.SEARCH, DATA / "weights"), threads)
        paths = [noise(place / f"{number}.wav", many.SECONDS, number) for number in range(max(FILES))]

        def files(count: int) -> dict[str, Way]:
            return {
                OURS: lambda: list(captioner.caption_many(paths[:count])),
                PLAIN: lambda: many.file_by_file(encoder, made, paths[:count], place / "table.csv"),
            }

        yield curve("Recordings of 4 s, beam 4", "recordings", FILES, files)
        sound = np.random.default_rng(0).standard_normal(max(SECONDS) * 16000, np.float32) / 10

        def long(seconds: int) -> dict[str, Way]:
            return {OURS: lambda: captioner.caption_waveform(sound[: seconds * 16000], 16000)}

        yield curve("One recording, beam 4", "seconds of sound", SECONDS, long)


def draw(found: Sequence[Curve], path: Path) -> None:
    """Draw a panel for each curve, both axes logarithmic."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(4 * len(found), 3.6), layout="constrained")
    for axes, one in zip(figure.subplots(1, len(found)), found, strict=True):
        for way, seconds in one.seconds.items():
            axes.plot(one.places, seconds, marker="o", label=way)
        axes.set(title=one.title, xlabel=one.axis, ylabel="s", xscale="log", yscale="log")
        axes.set_xticks(one.places, [str(place) for place in one.places])
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
    with written_whole(path) as part:
        figure.savefig(part, format="png", dpi=110)


def main() -> None:
    """Measure, write and draw."""
    parser = argparse.ArgumentParser(description="Measure how time grows.")
    parser.add_argument("--threads", type=int, default=cores())
    threads = parser.parse_args().threads
    print(machine(threads), flush=True)
    found = []
    RESULTS.mkdir(exist_ok=True)
    for one in curves(threads):
        found.append(one)
        write_text(RESULTS / "scaling.json", json.dumps([each._asdict() for each in found], indent=2) + "\n")
    draw(found, RESULTS / "scaling.png")


if __name__ == "__main__":
    main()
