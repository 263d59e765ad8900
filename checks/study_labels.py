"""A study at scale: AudioSet's labels, as raters ticked them, in the place of an encoder, on AudioCaps.

    python -m checks.study_labels [--seeds N] [--only AXIS=VALUES] [--set KEY=VALUE] [--workers N] [--report]

No sound is heard: the labels of a clip are the frames that an encoder would have made (`checks.labels`). What
is compared stands in `study_labels.toml`: 15 settings, 45 runs. `runs/study-labels` then holds the
recordings, the runs, `scores.csv` and `report/`. The same command goes on where it was stopped. Needs
`otoscribe get spice`.
"""

import csv
import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from checks.labels import wav_of
from checks.material import DATA, MISSING, Recording
from checks.parts import Part
from checks.real_pairs import write_table
from checks.studies import MINILM, RUNS, Asked, conduct
from otoscribe.study.statistics import Comparison

LEARNT, CHOOSING = 10_000, 1_000
"""Clips of AudioCaps' training split that are learned from, and that choose the epoch."""

ASKED = Asked(
    "study_labels.toml",
    "AudioSet's labels instead of an encoder",
    "AudioCaps' validation split, five captions each. There is no sound in this study: instead of what an "
    "encoder hears, a model gets the AudioSet labels that raters ticked for a clip, one frame each. No "
    "encoder names sounds so well; how loud, how long or when they are, the labels do not say. Of the "
    f"49,838 clips of the training split, a hash of their ids chose {LEARNT:,} to learn from and "
    f"{CHOOSING:,} others that choose the epoch; the reported clips choose nothing. {MINILM}",
    (
        Comparison("tuned", "true", "false"),
        Comparison("adapter", "attention", "identity"),
    ),
)


class Clip(NamedTuple):
    """A clip of AudioCaps with its labels."""

    name: str
    """Of its file."""
    captions: tuple[str, ...]
    labels: tuple[str, ...]
    """AudioSet's names of classes, such as /m/09x0r."""


def main() -> None:
    """Write recordings and tables, and do the study."""
    write_data(RUNS / "study-labels", DATA / "captions", LEARNT, CHOOSING)
    conduct(ASKED, sys.argv[1:])


def write_data(folder: Path, captions: Path, learnt: int, choosing: int) -> None:
    """Write a table for each part, and the recordings they list.

    Args:
        folder: of the study.
        captions: holds AudioCaps' captions and labels.
        learnt: clips of the training split to learn from.
        choosing: others of them, that choose the epoch.
    """
    if not (captions / "audiocaps_train_labels.csv").is_file():
        sys.exit(MISSING)
    number_of = {label: number for number, label in enumerate(classes(captions))}
    train, evaluation = (clips_of(captions, split) for split in ("train", "val"))
    # In an order that nobody chooses, and of which more clips are a longer beginning.
    train = dict(sorted(train.items(), key=lambda clip: hashlib.sha256(clip[0].encode()).digest()))
    drawn = list(train.values())
    parts: dict[Part, list[Clip]] = {
        "training": drawn[choosing : choosing + learnt],
        "validation": drawn[:choosing],
        "evaluation": list(evaluation.values()),
    }
    (folder / "recordings").mkdir(parents=True, exist_ok=True)
    for part, clips in parts.items():
        recordings = []
        for clip in clips:
            name = Path("recordings", clip.name)
            _write(folder / name, wav_of(sorted(number_of[label] for label in clip.labels)))
            recordings.append(Recording(name, "AudioCaps", part, clip.name, clip.captions))
        write_table(folder / f"{part}.csv", recordings)


def classes(captions: Path) -> list[str]:
    """Return AudioSet's 527 classes, in an order that stays."""
    table = _rows(captions / "audioset_cooccurrence.csv")
    return sorted({row[column] for row in table for column in ("mid_a", "mid_b")})


def clips_of(captions: Path, split: str) -> Mapping[str, Clip]:
    """Return the clips of a split by their ids."""
    labels = {
        row["youtube_id"]: tuple(row["audioset_mids"].split())
        for row in _rows(captions / f"audiocaps_{split}_labels.csv")
    }
    found: dict[str, Clip] = {}
    for row in _rows(captions / f"audiocaps_{split}.csv"):
        clip_id, caption = row["youtube_id"], row["caption"]
        # Ids differ in capitals alone, which names of files cannot everywhere.
        clip = found.get(clip_id, Clip(f"{split}-{row['audiocap_id']}.wav", (), labels[clip_id]))
        found[clip_id] = clip._replace(captions=(*clip.captions, caption))
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _write(path: Path, content: bytes) -> None:
    """Write a file, unless it is there and whole: what is known of it then stays known.

    Not by `files.written_whole`, which waits for the disk: thousands of times, that takes minutes.
    """
    if not path.is_file() or path.read_bytes() != content:
        path.write_bytes(content)


if __name__ == "__main__":
    main()
