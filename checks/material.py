"""The test material that long checks and measurements read."""

import csv
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

DATA = Path(os.environ.get("OTOSCRIBE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
MISSING = f"The test material is not at {DATA}; set OTOSCRIBE_DATA to its folder."


@dataclass(frozen=True)
class Recording:
    """A recording with its captions."""

    path: Path
    corpus: str
    split: str
    """As the corpus calls it."""
    clip_id: str
    captions: tuple[str, ...]
    """One to five."""


def recordings() -> list[Recording]:
    """Read the real recordings, or end with the reason why not."""
    folder = DATA.absolute() / "pairs"
    if not (folder / "pairs.csv").is_file():
        sys.exit(MISSING)
    with (folder / "pairs.csv").open(encoding="utf-8", newline="") as file:
        return [
            Recording(
                folder / row["file_name"],
                row["corpus"],
                row["split"],
                row["clip_id"],
                tuple(row[f"caption_{number}"] for number in range(1, 6) if row[f"caption_{number}"]),
            )
            for row in csv.DictReader(file)
        ]


@dataclass(frozen=True)
class System:
    """What one captioner said about Clotho's evaluation split, and what it scored."""

    name: str
    candidates: dict[str, str]
    references: dict[str, list[str]]
    scores: dict[str, list[float]]
    """Each metric of each clip, as the stock programs computed it."""


def systems() -> list[System]:
    """Read the six systems, or end with the reason why not."""
    tables = sorted((DATA / "golden" / "metrics").glob("*_clotho_eval.csv"))
    if not tables:
        sys.exit(MISSING)
    return [_system(table) for table in tables]


def _system(table: Path) -> System:
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    metrics = [name for name in rows[0] if name not in ("file_name", "candidate", "references")]
    return System(
        table.name.removesuffix("_clotho_eval.csv"),
        {row["file_name"]: row["candidate"] for row in rows},
        {row["file_name"]: json.loads(row["references"]) for row in rows},
        {metric: [float(row[metric]) for row in rows] for metric in metrics},
    )
