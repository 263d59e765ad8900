"""How good the captions of the model in the package are, on the recordings of the test material.

CIDEr-D with 95 % bootstrap intervals over recordings, for each corpus and split by itself. Captions of
AudioCaps' training split and of Clotho's development split may be among those that the model learned from.

    python -m checks.quality
"""

import csv
from collections import defaultdict

from checks.material import DATA
from otoscribe import Captioner, Failure
from otoscribe.metrics import Scorer


def main() -> None:
    """Caption every recording, and print a row of scores for each part of them."""
    with (DATA / "pairs" / "pairs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    captions = {}
    paths = [DATA / "pairs" / row["file_name"] for row in rows]
    for row, result in zip(rows, Captioner().caption_many(paths), strict=True):
        if isinstance(result, Failure):
            raise SystemExit(result.message)
        captions[row["file_name"]] = result.caption
    parts: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for row in rows:
        references = [row[f"caption_{number}"] for number in range(1, 6) if row[f"caption_{number}"]]
        for part in ("all", f"{row['corpus']}, {row['split']}"):
            parts[part][row["file_name"]] = references
    print("| recordings | number | CIDEr-D | 95 % interval | words |\n|---|---|---|---|---|")
    for part, clips in sorted(parts.items()):
        scores = Scorer(clips, ["cider_d"]).score({name: captions[name] for name in clips})
        score = scores["cider_d"]
        print(
            f"| {part} | {len(clips)} | {score.value:.3f} | {score.low:.3f} to {score.high:.3f} | "
            f"{scores.statistics.words_mean:.1f} |"
        )


if __name__ == "__main__":
    main()
