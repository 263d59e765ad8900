"""Every metric of every clip of six real systems on Clotho evaluation, against the stock programs' scores.

    python -m checks.scores

The tables (`$OTOSCRIBE_DATA/golden/metrics/*_clotho_eval.csv`) were scored by pycocoevalcap 1.2 and, for
SPICE, its stock program on Java 8. Needs `otoscribe get spice`; takes minutes the first time, then
seconds.
"""

import sys

import numpy as np

from checks.material import systems
from otoscribe.cli.terminal import Bars
from otoscribe.metrics import METRICS, Scorer

COMPARED = METRICS[: METRICS.index("spider") + 1]
TOLERANCE = 1e-6


def main() -> int:
    """Compare, print what differs, and return the exit code."""
    worst = dict.fromkeys(COMPARED, 0.0)
    wrong = 0
    with Bars() as bars:
        for system in systems():
            with Scorer(system.references, COMPARED, progress=bars.show) as scorer:
                scores = scorer.score(system.candidates)
            for metric, reason in scores.missing.items():
                print(f"{system.name}: {metric} is missing: {reason}")
                wrong += 1
            for metric, values in scores.per_clip.items():
                difference = np.abs(values - system.scores[metric])
                worst[metric] = max(worst[metric], float(difference.max()))
                for clip in np.flatnonzero(~(difference <= TOLERANCE)):
                    expected = system.scores[metric][clip]
                    print(f"{system.name}, {scores.clips[clip]}: {metric} {values[clip]}, not {expected}")
                    wrong += 1
            print(f"{system.name}: {len(scores.clips)} clips compared", flush=True)
    for metric, largest in worst.items():
        print(f"{metric:8} largest difference {largest:.1e}")
    print("equal" if not wrong else f"{wrong} scores differ by more than {TOLERANCE:g}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
