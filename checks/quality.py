"""How good the captions of the model in the package are, on the recordings of the test material.

Naming, invention and CIDEr-D on the recordings that chose nothing, and on those that chose; CIDEr-D with 95 %
bootstrap intervals for each corpus and split by itself; naming of recordings made here.

    python -m checks.quality [MODEL]
"""

import csv
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from checks.material import DATA
from checks.rendered import Rendered, instruments, mixtures, voices
from otoscribe import Captioner
from otoscribe.metrics import Scorer
from otoscribe.model.encoders.base import load_encoder
from otoscribe.train.settings import TrainingSettings
from otoscribe.train.trainer import RuntimeSettings
from recipes.bundled import corpus, report
from recipes.bundled.__main__ import MODEL, Recipe
from recipes.bundled.relations import Relations

EARLIER = (
    "| otoscribe-small-1 | 0.689 | 0.577 | 0.122 / 0.207 / 0.197 | 0.561 ± 0.117 | 0.201 ± 0.061 | 5.9 |",
    "| otoscribe-small-1, the others | 0.715 |  | 0.089 /  / 0.200 | 0.765 ± 0.106 | 0.169 ± 0.078 | 5.9 |",
)
"""What the model before this one had; it was chosen on some recordings of either part."""
WORK = Path("runs/bundled")
"""Folder of the recipe, which keeps what was measured and what the encoder showed."""


def main() -> None:
    """Caption every recording, and print all tables."""
    captioner = Captioner(sys.argv[1] if len(sys.argv) > 1 else None)
    _judged(captioner)
    _by_corpus(captioner)
    _rendered(captioner)


def _judged(captioner: Captioner) -> None:
    recipe = Recipe(DATA, WORK, RuntimeSettings(), free=False, seed=TrainingSettings().seed)
    clips = corpus.audiocaps(DATA, "train")
    encoder = load_encoder(MODEL.encoder, DATA / "weights")
    heard, relations = recipe.hear(encoder), Relations.read(DATA)
    measured = recipe.measure(encoder, heard, recipe.lexicon("lexicon", clips), relations)
    lexis = recipe.lexicon("lexicon of all", clips)
    print(report.HEAD)
    name = captioner.manifest.name
    parts: tuple[tuple[corpus.Part, str], ...] = (
        ("report", name),
        ("choose", f"{name}, the others"),
    )
    for part, title in parts:
        judge = report.Judge(DATA, heard, relations, measured, lexis, part)
        print(judge.row(title, lambda paths: report.captioned(captioner, paths)))
    print(*EARLIER, sep="\n")


def _by_corpus(captioner: Captioner) -> None:
    with (DATA / "pairs" / "pairs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    texts = report.captioned(captioner, [DATA / "pairs" / row["file_name"] for row in rows])
    captions = {row["file_name"]: text for row, text in zip(rows, texts, strict=True)}
    parts: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for row in rows:
        references = [row[f"caption_{number}"] for number in range(1, 6) if row[f"caption_{number}"]]
        for part in ("all", f"{row['corpus']}, {row['split']}"):
            parts[part][row["file_name"]] = references
    print("\n| recordings | number | CIDEr-D | 95 % interval | words |\n|---|---|---|---|---|")
    for part, clips in sorted(parts.items()):
        scores = Scorer(clips, ["cider_d"]).score({name: captions[name] for name in clips})
        score = scores["cider_d"]
        print(
            f"| {part} | {len(clips)} | {score.value:.3f} | {score.low:.3f} to {score.high:.3f} | "
            f"{scores.statistics.words_mean:.1f} |"
        )


def _rendered(captioner: Captioner) -> None:
    print("\n| made here | number | first word | second word | both |\n|---|---|---|---|---|")
    reported = [sound for sound in corpus.esc10(DATA) if sound.part == "report"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        made: dict[str, Sequence[Rendered]] = {
            "instruments: music, and the instrument": list(instruments(folder)),
            "voices: speech, and a man's or a woman's": list(voices(folder)),
            "two sounds at once: each, and the other": list(mixtures(folder, reported)),
        }
        for name, recordings in made.items():
            texts = report.captioned(captioner, [recording.path for recording in recordings])
            hits = np.array(
                [
                    [re.search(words, text) is not None for words in recording.wanted]
                    for recording, text in zip(recordings, texts, strict=True)
                ]
            )
            if len(hits):
                first, second = hits.mean(axis=0)
                both = hits.all(axis=1).mean()
                print(f"| {name} | {len(hits)} | {first:.2f} | {second:.2f} | {both:.2f} |")


if __name__ == "__main__":
    main()
