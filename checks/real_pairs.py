"""YAMNet against aiSFX with real weights on real recordings: losses as a picture, scores, captions.

    python -m checks.real_pairs [FOLDER]

Both encoders at both overlaps are trained and evaluated with the settings of each preset of the paper's
system. FOLDER (`runs/real-pairs` unless named) then holds `report.md`, `losses.svg`, `losses.png`,
`captions.md`, and what they were made of: tables, embeddings and runs. A second call goes on where the first
was stopped.
"""

import csv
import itertools
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from checks.curves import Curves, draw
from checks.material import DATA, Recording, recordings
from checks.parts import PARTS, Part, split
from otoscribe.datasets.folder import read_pairs
from otoscribe.files import write_text
from otoscribe.metrics import Estimate, Scorer, Scores
from otoscribe.model.encoders.base import ENCODERS
from otoscribe.search.options import Search
from otoscribe.settings import run_id
from otoscribe.train.evaluate import evaluate
from otoscribe.train.experiment import Places, prepare
from otoscribe.train.history import Epoch, best_epoch, read_log
from otoscribe.train.settings import ExperimentSettings, read_settings
from otoscribe.train.trainer import RuntimeSettings, train

CHOICES = list(itertools.product(("paper", "paper-128"), ("yamnet", "aisfx"), (0.0, 0.5)))
"""Preset, encoder and overlap."""
SEARCHES = {"greedy": Search(beam=1), "beam 4": Search(beam=4)}
METRICS = ("bleu_4", "rouge_l", "cider_d", "meteor", "spice", "spider", "spider_fl", "fense")
SHOWN = 12
"""Recordings whose captions are shown."""
SPLIT = """\
Learned from and validated with are the recordings of AudioCaps' training and validation split and of
Clotho's development and validation split. A hash of its id puts about a quarter of them into validation,
which chooses the epoch. Evaluated are those of AudioCaps' test split, which choose nothing. Music with
captions in the style of MusicCaps, of no known split, is left out; so is a caption that is also one of an
evaluated recording, or in training one of a validated recording. YAMNet learned its classes from AudioSet,
which AudioCaps is a part of; aiSFX learned from libraries of sound effects."""


@dataclass(frozen=True)
class Trained:
    """One encoder at one overlap, trained by one preset, and evaluated."""

    preset: str
    encoder: str
    overlap: float
    history: Sequence[Epoch]
    seconds: float
    """Per epoch, validation and writing included, the median; not a number if no epoch was measured."""
    captions: Mapping[str, Sequence[str]]
    """Of every evaluated recording, by the search that found them."""
    scores: Mapping[str, Scores]
    """By the search; and of captions that were given to the next recording."""

    @property
    def title(self) -> str:
        """What it is."""
        return f"{self.preset}, {self.encoder}, overlap {self.overlap:.0%}"


def main(folder: Path) -> None:
    """Train and evaluate all models, and write the report."""
    parts = split(recordings())
    for part in PARTS:
        write_table(folder / f"{part}.csv", parts[part])
    evaluated = parts["evaluation"]
    with Scorer([recording.captions for recording in evaluated], METRICS) as scorer:
        models = [trained(folder, *choice, scorer) for choice in CHOICES]
    draw([Curves(model.title, model.history) for model in models], folder / "losses", columns=4)
    write_text(folder / "captions.md", "\n".join(captions_shown(evaluated, models)) + "\n")
    report = "\n".join(reported(parts, models)) + "\n"
    write_text(folder / "report.md", report)
    print(report)


def write_table(path: Path, recordings: Sequence[Recording]) -> None:
    """Write a table in Clotho's layout, whose names are absolute paths."""
    most = max(len(recording.captions) for recording in recordings)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file_name", *(f"caption_{number + 1}" for number in range(most))])
        for recording in recordings:
            filled = [*recording.captions, *[""] * (most - len(recording.captions))]
            table.writerow([recording.path, *filled])


def trained(folder: Path, preset: str, encoder: str, overlap: float, scorer: Scorer) -> Trained:
    """Train a model, unless it is, and evaluate it."""
    places = Places(
        training=folder / "training.csv",
        validation=folder / "validation.csv",
        weights=DATA / "weights",
        features=folder / "features",
    )
    print(f"{preset}, {encoder}, overlap {overlap:.0%}", flush=True)
    run = _train(settings_of(preset, encoder, overlap), places, folder)
    clips = read_pairs(folder / "evaluation.csv")
    captions = {
        name: evaluate(run, clips, options=options, features=places.features, weights=places.weights)
        for name, options in SEARCHES.items()
    }
    scores = {name: scorer.score(texts) for name, texts in captions.items()}
    # What is scored without having heard the recording.
    last = list(captions)[-1]
    scores[f"{last}, of the next recording"] = scorer.score([*captions[last][1:], captions[last][0]])
    measured = read_seconds(folder).get(run.name)
    seconds = median(measured) if measured else math.nan
    return Trained(preset, encoder, overlap, read_log(run / "log.csv"), seconds, captions, scores)


def settings_of(preset: str, encoder: str, overlap: float) -> ExperimentSettings:
    """Return a preset's settings with another encoder."""
    settings = read_settings(preset)
    chosen = ENCODERS[encoder].Settings(name=encoder, overlap=overlap)
    model = settings.model.model_copy(update={"encoder": chosen})
    return settings.model_copy(update={"model": model})


def _train(settings: ExperimentSettings, places: Places, folder: Path) -> Path:
    """Train, and note how long each new epoch took."""
    experiment = prepare(settings, places)
    run = folder / "runs" / run_id(experiment.settings)
    before = len(read_log(run / "log.csv")) if (run / "log.csv").is_file() else 0
    times: dict[int, float] = {before: time.perf_counter()}

    def report(epoch: Epoch) -> None:
        times[epoch.epoch] = time.perf_counter()
        print(f"{epoch.epoch}: {epoch.training_loss:.4f}, {epoch.validation_loss:.4f}", flush=True)

    train(experiment, folder / "runs", RuntimeSettings(), report)
    seconds = read_seconds(folder)
    new = [epoch for epoch in times if epoch > before]
    seconds.setdefault(run.name, []).extend(times[epoch] - times[epoch - 1] for epoch in new)
    write_text(folder / "seconds.json", json.dumps(seconds) + "\n")
    return run


def read_seconds(folder: Path) -> dict[str, list[float]]:
    """Return the seconds of epochs by run, as this call and earlier ones noted them."""
    path = folder / "seconds.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def reported(parts: Mapping[Part, Sequence[Recording]], models: Sequence[Trained]) -> list[str]:
    """Return the lines of the report."""
    lines = ["# YAMNet against aiSFX on real recordings", "", *SPLIT.splitlines(), ""]
    lines += _row("part", "recordings", "captions") + _row(*["---"] * 3)
    for part in PARTS:
        captions = sum(len(recording.captions) for recording in parts[part])
        lines += _row(part, len(parts[part]), captions)
    columns = ["preset", "encoder", "overlap"]
    losses = ["epochs", "best epoch", "steps", "training loss", "validation loss", "s / epoch"]
    lines += ["", "Steps up to the best epoch, and its losses in nats per token:", ""]
    lines += _row(*columns, *losses) + _row(*["---"] * 9)
    for model in models:
        best = best_epoch(model.history)
        lines += _row(
            *(model.preset, model.encoder, f"{model.overlap:.0%}", len(model.history)),
            *(
                best.epoch,
                best.steps,
                f"{best.training_loss:.3f}",
                f"{best.validation_loss:.3f}",
                f"{model.seconds:.2f}",
            ),
        )
    first = next(iter(models[0].scores.values()))
    lines += ["", "Scores with 95 % bootstrap intervals; mean words of a caption; distinct captions:", ""]
    head = [*columns, "captions", *first.corpus, "words", "distinct"]
    lines += _row(*head) + _row(*["---"] * len(head))
    for model in models:
        for name, scores in model.scores.items():
            lines += _row(
                *(model.preset, model.encoder, f"{model.overlap:.0%}", name),
                *map(_cell, scores.corpus.values()),
                *(f"{scores.statistics.words_mean:.1f}", scores.statistics.distinct_captions),
            )
    return [*lines, "", *(f"No {metric}: {reason}" for metric, reason in first.missing.items())]


def _row(*cells: object) -> list[str]:
    return [f"| {' | '.join(map(str, cells))} |"]


def _cell(score: Estimate) -> str:
    return f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})"


def captions_shown(evaluated: Sequence[Recording], models: Sequence[Trained]) -> list[str]:
    """Return a table for each of some recordings, taken evenly out of all."""
    lines = [f"# {SHOWN} of {len(evaluated)} evaluated recordings"]
    for place in range(0, len(evaluated), len(evaluated) // SHOWN)[:SHOWN]:
        lines += ["", f"## {evaluated[place].path.stem}", "", *_row("by", "caption"), *_row("---", "---")]
        for caption in evaluated[place].captions:
            lines += _row("reference", caption)
        for model in models:
            for name, captions in model.captions.items():
                lines += _row(f"{model.title}, {name}", captions[place])
    return lines


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/real-pairs"))
