"""The 264 settings of the paper: every one built, trained one step and captioned with, a sample exported.

    python -m checks.grid               prints a table: a line for each encoder, overlap and adapter
    python -m checks.grid yamnet        of this encoder only
    python -m checks.grid -o grid.md    writes it as well, whenever an encoder is through at an overlap

Each setting is the preset `paper` with other variants, at full size. What cannot be had is made up, and the
table says so: the encoders' weights come from a formula, and published word vectors and BERT from small files
in the same layouts. A step has to lower the loss, as it is measured on the pairs that it learned from; a
bundle has to give the caption that its run gives. What fails is listed at the end, and the rest goes on.
"""

import argparse
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from itertools import groupby, product
from pathlib import Path

import numpy as np
import soundfile

from checks.paper import ENCODERS, OVERLAPS, WORDS, Cell, Words, grid, sample
from otoscribe import Captioner
from otoscribe.model.encoders.base import FORMULA
from otoscribe.processors import cores
from otoscribe.search.options import Search
from otoscribe.train.batches import Split
from otoscribe.train.evaluate import captions_of
from otoscribe.train.experiment import Material, Places
from otoscribe.train.export import export
from otoscribe.train.history import Epoch
from otoscribe.train.run import load_run
from otoscribe.train.settings import ExperimentSettings
from otoscribe.train.trainer import Experiment, RuntimeSettings, device_of, train

VECTORS = Path(__file__).parents[1] / "tests" / "golden" / "words"
"""Small files of word vectors under the names of the published ones."""
RUNTIME = RuntimeSettings(threads=1)
LEARNING_RATE = 1e-5
"""At the paper's 1e-3, Adam's first step is so long that it raises the loss in many settings."""
SAMPLE_RATE = 32000
SECONDS = (1.0, 3.0, 5.0)
"""Of the recordings: less than what one embedding hears, and several times that."""
CAPTIONS = (
    ("a dog barks loudly while rain falls", "a dog barks"),
    ("rain falls on the roof", "rain falls while a dog barks on the roof"),
    ("a bird sings in the café", "a high-pitched bird sings"),
)


@dataclass(frozen=True)
class Result:
    """What a setting gave."""

    before: float
    """Loss per token before the step."""
    after: float
    caption: str
    """Of the first recording, by beam search."""
    difference: float | None
    """Largest difference between the log-probabilities of run and bundle; None: it was not exported."""

    def __str__(self) -> str:
        exported = "" if self.difference is None else f", exported {self.difference:.0e}"
        return f"{self.before:.4f} → {self.after:.4f}{exported}"


Results = dict[Cell, Result | str]
"""A text is the reason why there is no result."""


def title(words: Words) -> str:
    """Return what a word setting is called in the table."""
    made_up = "" if words.name in ("random", "cbow") else " (made-up)"
    return f"{words}{made_up}"


def one_step(settings: ExperimentSettings) -> ExperimentSettings:
    """Return settings of a run that ends after an epoch, with weights that everybody has."""
    encoder = settings.model.encoder.model_copy(update={"weights": FORMULA})
    model = settings.model.model_copy(update={"encoder": encoder})
    training = settings.training.model_copy(update={"maximum_epochs": 1, "learning_rate": LEARNING_RATE})
    return settings.model_copy(update={"model": model, "training": training})


def make(folder: Path, seconds: Sequence[float] = SECONDS) -> Path:
    """Write a recording for each of `CAPTIONS`, a tone in noise; return the table."""
    lines = ["file_name,caption_1,caption_2"]
    for number, (length, captions) in enumerate(zip(seconds, CAPTIONS, strict=True)):
        times = np.arange(round(length * SAMPLE_RATE)) / SAMPLE_RATE
        noise = np.random.default_rng(number).standard_normal(len(times))
        waveform = 0.3 * np.sin(2 * np.pi * 300 * (number + 1) * times) + 0.05 * noise
        soundfile.write(folder / f"{number}.wav", waveform.astype(np.float32), SAMPLE_RATE, "PCM_16")
        lines.append(",".join([f"{number}.wav", *captions]))
    table = folder / "captions.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table


def try_all(settings: Mapping[Cell, ExperimentSettings], table: Path, exported: Sequence[Cell]) -> Results:
    """Try settings of one encoder and overlap.

    Args:
        settings: of `one_step`.
        table: of recordings and captions, to learn from and to validate with.
        exported: which of them to export as well.
    """
    device_of(RUNTIME)
    results: Results = {}
    ordered = sorted(settings, key=lambda cell: (cell.words.name, bool(cell.words.tuned)))
    with tempfile.TemporaryDirectory() as temporary:
        # Loading an encoder may take seconds.
        material = Material.read(Places(table, table, features=Path(temporary) / "features", words=VECTORS))
        # The adapter decides nothing of what is prepared.
        for _, group in groupby(ordered, key=lambda cell: cell.words):
            cells = list(group)
            try:
                experiment = material.prepare(settings[cells[0]])
            except Exception as error:  # whatever it is, it is what is looked for here
                results |= dict.fromkeys(cells, _reason(error))
                continue
            for cell in cells:
                try:
                    own = _with_adapter(experiment, settings[cell])
                    results[cell] = _tried(own, table.parent / "0.wav", Path(temporary), cell in exported)
                except Exception as error:
                    results[cell] = _reason(error)
    return results


def _with_adapter(experiment: Experiment, settings: ExperimentSettings) -> Experiment:
    model = experiment.settings.model.model_copy(update={"adapter": settings.model.adapter})
    return replace(experiment, settings=experiment.settings.model_copy(update={"model": model}))


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _tried(experiment: Experiment, recording: Path, folder: Path, exported: bool) -> Result:
    epochs: list[Epoch] = []
    run = train(experiment, folder / "runs", RUNTIME, epochs.append)
    (epoch,) = epochs
    model, vocabulary, _ = load_run(run, VECTORS)
    assert isinstance(experiment.validation, Split)
    (caption,) = captions_of(model, vocabulary, experiment.validation.features[:1], Search())
    difference = None
    if exported:
        difference = export(run, folder / "bundle", words=VECTORS)
        found = Captioner(folder / "bundle").caption(recording).caption
        shutil.rmtree(folder / "bundle")
        if found != caption:
            raise ValueError(f"the bundle writes {found!r}, the run {caption!r}")
    shutil.rmtree(run)
    if epoch.steps != 1 or not epoch.validation_loss < epoch.training_loss:
        losses = f"{epoch.training_loss:.3f} to {epoch.validation_loss:.3f}"
        raise ValueError(
            f"the loss went from {losses} in {epoch.steps} steps, which should be 1 and lower it"
        )
    return Result(epoch.training_loss, epoch.validation_loss, caption, difference)


def report(results: Results, seconds: float, processes: int) -> str:
    """Return what came out, as Markdown; results in the order of the grid."""
    done = [result for result in results.values() if isinstance(result, Result)]
    differences = [result.difference for result in done if result.difference is not None]
    lines = [
        f"{len(done)} of {len(results)} settings of the preset `paper` were built, trained one step and "
        f"captioned with; {len(differences)} of them were exported, with a largest difference in "
        f"log-probability of {max(differences, default=0.0):.1e}. It took {seconds:.0f} s in {processes} "
        "processes of one thread.",
        "",
        f"A cell: loss per token before and after the step, of size {LEARNING_RATE:g}. The weights of all "
        "encoders come from a formula, and their captions mean nothing. Word embeddings marked made-up come "
        "from small files in the layout of the published ones: 8 numbers per word instead of 300, and a BERT "
        "of 3 layers and 16 numbers instead of 12 and 768.",
        "",
        "| encoder, formula weights | overlap | adapter | " + " | ".join(map(title, WORDS)) + " |",
        "|---" * (3 + len(WORDS)) + "|",
    ]
    for line, group in groupby(results, key=lambda cell: cell[:3]):
        encoder, overlap, adapter = line
        row = {cell.words: results[cell] for cell in group}
        shown = ["failed" if isinstance(row.get(words), str) else str(row.get(words, "")) for words in WORDS]
        lines.append(f"| {encoder} | {overlap:.0%} | {adapter} | " + " | ".join(shown) + " |")
    failed = [f"- {cell}: {reason}" for cell, reason in results.items() if isinstance(reason, str)]
    return "\n".join([*lines, *(["", "Failed:", "", *failed] if failed else [])]) + "\n"


def main() -> int:
    """Try all settings, print the table and return the exit code."""
    parser = argparse.ArgumentParser(description="Try the 264 settings of the paper.")
    parser.add_argument("encoders", nargs="*", metavar="ENCODER", help="only these; all if none is named")
    parser.add_argument("-o", "--output", type=Path, help="write the table to a file as well")
    arguments = parser.parse_args()
    if unknown := set(arguments.encoders) - {*ENCODERS}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(ENCODERS)}")
    settings = {cell: one_step(one) for cell, one in grid().items()}
    # What takes longest is begun first.
    pairs = product(arguments.encoders or reversed(ENCODERS), OVERLAPS)
    begun = time.perf_counter()
    processes = cores()
    found: Results = {}
    text = ""
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool,
    ):
        table = make(Path(folder))
        parts = [{cell: one for cell, one in settings.items() if cell[:2] == pair} for pair in pairs]
        for job in as_completed([pool.submit(try_all, part, table, sample()) for part in parts]):
            found |= job.result()
            seconds = time.perf_counter() - begun
            print(f"{len(found)} settings tried, {seconds:.0f} s", file=sys.stderr, flush=True)
            # In the order of the grid, whichever was ready first.
            text = report({cell: found[cell] for cell in settings if cell in found}, seconds, processes)
            if arguments.output is not None:
                arguments.output.write_text(text, encoding="utf-8")
    print(text, end="")
    return int(any(isinstance(result, str) for result in found.values()))


if __name__ == "__main__":
    sys.exit(main())
