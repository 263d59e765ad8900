"""What the recipe reads: captions, the AudioSet labels beside them, and recordings, each for one purpose.

What trains: captions and labels of AudioCaps' training and Clotho's development split, and the few
recordings of these splits. What chooses: labels and captions of AudioCaps' validation split, and of the
other recordings one half. What is reported: the other half, and UrbanSound8K. A recording's half is decided
by its name alone, so nobody chooses it, and no later one moves it.
"""

import csv
import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Part = Literal["train", "choose", "report"]

TRAINING_SPLITS = frozenset({"train", "development"})


def half(name: str) -> Part:
    """Return which half a recording belongs to: that of its source, where several were cut from one."""
    odd = hashlib.sha256(name.encode()).digest()[0] % 2
    return "report" if odd else "choose"


@dataclass(frozen=True)
class Clip:
    """A recording known by what people wrote and ticked; its audio is not needed."""

    clip_id: str
    captions: tuple[str, ...]
    mids: tuple[str, ...]
    """AudioSet identifiers as raters ticked them; empty where nobody did (Clotho)."""


def rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV file with a header."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def class_names(data: Path) -> dict[str, str]:
    """Map the mid of YAMNet's 521 classes to the display name, in the order of the network's outputs."""
    return {row["mid"]: row["display_name"] for row in rows(data / "weights" / "yamnet_class_map.csv")}


def visible_ids(data: Path) -> frozenset[str]:
    """Name the clips of the validation recordings, so that their captions stay out of training.

    Without ".wav": some rows of the list name Clotho's clips with it, others without.
    """
    return frozenset(row["clip_id"].removesuffix(".wav") for row in rows(data / "pairs" / "pairs.csv"))


def ticked(data: Path) -> dict[str, tuple[str, ...]]:
    """Map AudioCaps' training and validation clips to the mids that raters ticked."""
    return {
        row["youtube_id"]: tuple(row["audioset_mids"].split())
        for split in ("train", "val")
        for row in rows(data / "captions" / f"audiocaps_{split}_labels.csv")
    }


def audiocaps(data: Path, split: str) -> list[Clip]:
    """Read AudioCaps `train` or `val` with labels, one clip per recording.

    The recordings that captions are compared on are left out of either.
    """
    labels = ticked(data)
    captions: dict[str, list[str]] = defaultdict(list)
    for row in rows(data / "captions" / f"audiocaps_{split}.csv"):
        captions[row["youtube_id"]].append(row["caption"])
    hidden = visible_ids(data)
    return [
        Clip(clip_id, tuple(texts), labels.get(clip_id, ()))
        for clip_id, texts in captions.items()
        if clip_id not in hidden
    ]


def clotho(data: Path) -> list[Clip]:
    """Read Clotho's development captions; nobody labelled these clips."""
    hidden = visible_ids(data)
    return [
        Clip(row["file_name"], tuple(row[f"caption_{k}"] for k in range(1, 6) if row[f"caption_{k}"]), ())
        for row in rows(data / "captions" / "clotho_captions_development.csv")
        if row["file_name"].removesuffix(".wav") not in hidden
    ]


@dataclass(frozen=True)
class Pair:
    """A real recording with its human captions."""

    path: Path
    clip_id: str
    corpus: str
    part: Part
    captions: tuple[str, ...]


def pairs(data: Path) -> list[Pair]:
    """Read the recordings with captions in the order of their list."""
    return [
        Pair(
            data / "pairs" / row["file_name"],
            row["clip_id"],
            row["corpus"],
            "train" if row["split"] in TRAINING_SPLITS else half(row["clip_id"].removesuffix(".wav")),
            tuple(row[f"caption_{k}"] for k in range(1, 6) if row[f"caption_{k}"]),
        )
        for row in rows(data / "pairs" / "pairs.csv")
    ]


@dataclass(frozen=True)
class Sound:
    """A recording of one kind of sound."""

    path: Path
    kind: str
    part: Part


def esc10(data: Path) -> list[Sound]:
    """Read ESC-10's recordings in the order of their list."""
    folder = data / "audio" / "esc10"
    return [
        Sound(folder / row["file_name"], row["label"], half(row["freesound_id"]))
        for row in rows(folder / "labels.csv")
    ]


def urbansound8k(data: Path) -> list[Sound]:
    """Read those of UrbanSound8K, all of which are only reported."""
    folder = data / "audio" / "urbansound8k"
    return [Sound(folder / row["file_name"], row["label"], "report") for row in rows(folder / "labels.csv")]


def cooccurrence(data: Path) -> dict[tuple[str, str], int]:
    """Map two mids, in either order, to the AudioSet clips that have both; a mid twice to those with it."""
    counts = {}
    for row in rows(data / "captions" / "audioset_cooccurrence.csv"):
        first, second = row["mid_a"], row["mid_b"]
        counts[first, second] = counts[second, first] = int(row["clips"])
    return counts
