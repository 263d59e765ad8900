"""A study on real sound: YAMNet and aiSFX with real weights, on the real recordings.

    python -m checks.study_pairs [--seeds N] [--only AXIS=VALUES] [--set KEY=VALUE] [--workers N] [--report]

What is compared stands in `study_pairs.toml`: 60 settings, 180 runs. `runs/study-pairs` then holds the
runs, `scores.csv` and `report/`. The same command goes on where it was stopped. Needs `otoscribe get spice`.
"""

import sys

from checks.material import DATA, recordings
from checks.parts import PARTS, split
from checks.real_pairs import SPLIT
from checks.studies import MINILM, Asked, conduct
from otoscribe.datasets.corpora.base import Dataset, DatasetSpec
from otoscribe.datasets.folder import Listed
from otoscribe.study.statistics import Comparison

ASKED = Asked(
    "study_pairs.toml",
    "YAMNet and aiSFX on real recordings",
    f"AudioCaps' test split, as far as its recordings are at hand. {' '.join(SPLIT.split())} {MINILM}",
    (
        Comparison("encoder", "yamnet", "aisfx"),
        Comparison("overlap", "0.5", "0.0", "encoder"),
        Comparison("adapter", "attention", "identity"),
        Comparison("tuned", "true", "false", "words"),
    ),
)


class Pairs(Dataset):
    """The real recordings, in the parts of `checks.parts`."""

    spec = DatasetSpec(name="checks.study_pairs:Pairs", recordings=dict.fromkeys(PARTS))

    def listed(self, part: str) -> Listed:
        """Return the recordings of a part, by their names in the list of all."""
        folder = DATA.absolute() / "pairs"
        chosen = next(found for name, found in split(recordings()).items() if name == part)
        captions = {one.path.relative_to(folder).as_posix(): one.captions for one in chosen}
        return Listed(folder / "pairs.csv", folder, captions)


if __name__ == "__main__":
    conduct(ASKED, sys.argv[1:])
