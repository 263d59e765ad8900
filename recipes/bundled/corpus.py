"""What the recipe reads: captions, the AudioSet labels beside them, and recordings for validation."""

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path


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
    """A real recording with its human captions, for validation only."""

    path: Path
    clip_id: str
    corpus: str
    captions: tuple[str, ...]


def pairs(data: Path) -> list[Pair]:
    """Read the validation recordings in the order of their list."""
    return [
        Pair(
            data / "pairs" / row["file_name"],
            row["clip_id"],
            row["corpus"],
            tuple(row[f"caption_{k}"] for k in range(1, 6) if row[f"caption_{k}"]),
        )
        for row in rows(data / "pairs" / "pairs.csv")
    ]
