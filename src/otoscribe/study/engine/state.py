"""How far a run of a study is: its folder alone says so. One process at a time works on it.

A run's folder, beside what training keeps there (`train.run`):

    captions.csv   what the best epoch says of the reported split
    captioned      which recordings and search that was, and the checksum of captions.csv; written last
    score.json     the score of these captions
    failed         the traceback of what went wrong, until it goes on
    lock           held by the process that works on the run, and free when that has ended, however it ends
"""

import csv
import io
import json
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from filelock import FileLock

from otoscribe import files
from otoscribe.errors import RunError
from otoscribe.files import write_text
from otoscribe.text.tables import read_candidates


class State(StrEnum):
    """How far a run is."""

    NOTHING = "nothing"
    BEGUN = "begun"
    TRAINED = "trained"
    CAPTIONED = "captioned"
    FAILED = "failed"


def lock_of(run: Path) -> FileLock:
    """Return the lock of a run, and make its folder.

    It is the operating system's own, `flock` or what Windows has, so that no dead process holds one.
    """
    run.mkdir(parents=True, exist_ok=True)
    return FileLock(run / "lock")


def state_of(run: Path, captioned: str) -> State:
    """Return how far a run is.

    Args:
        run: its folder, which may not be there.
        captioned: names the recordings and the search of the captions, see `Shared.captioned`.
    """
    if _text(run / "captioned").startswith(f"{captioned} "):
        return State.CAPTIONED
    if (run / "failed").is_file():
        return State.FAILED
    if (run / "done").is_file():
        return State.TRAINED
    return State.BEGUN if (run / "settings.json").is_file() else State.NOTHING


def sweep(folder: Path) -> None:
    """Delete what processes left that were killed while they wrote; nobody else may write there now."""
    for leftover in folder.glob(".*"):
        with suppress(OSError):  # of a folder of some other program, or of NFS, which deletes it itself
            leftover.unlink()


def write_captions(run: Path, captioned: str, captions: Mapping[str, str]) -> None:
    """Write the captions of a run by the names of recordings, and then that they are there."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["file_name", "caption"])
    rows.writerows(captions.items())
    write_text(run / "captions.csv", text.getvalue())
    write_text(run / "captioned", f"{captioned} {files.sha256(run / 'captions.csv')}\n")


def has_its_captions(run: Path) -> bool:
    """Tell whether the captions of a run are whole; if they are not, it counts as trained from now on."""
    path = run / "captions.csv"
    whole = path.is_file() and _text(run / "captioned").split()[-1:] == [files.sha256(path)]
    if not whole:
        (run / "captioned").unlink(missing_ok=True)
    return whole


def read_captions(run: Path) -> dict[str, str]:
    """Read the captions of a run that has some.

    Raises:
        RunError: they are damaged; the run then counts as trained, and is captioned again.
    """
    path = run / "captions.csv"
    if not has_its_captions(run):
        raise RunError(f"{path} is damaged. Type the same command again: the run is captioned anew.")
    return {name: captions[0] for name, captions in read_candidates(path).items()}


def last_line(run: Path) -> str:
    """Return what a failed run failed for: the last line of its traceback."""
    lines = _text(run / "failed").splitlines()
    return lines[-1] if lines else "for no stated reason"


def kept_score(run: Path, metric: str, of: str) -> float | None:
    """Return a score of the run's captions that was written before.

    Args:
        run: its folder.
        metric: which score.
        of: names captions and references.
    """
    try:
        found = json.loads((run / "score.json").read_text(encoding="utf-8"))
        return float(found["value"]) if (found["metric"], found["of"]) == (metric, of) else None
    except (OSError, ValueError, KeyError, TypeError):  # it costs little to score again
        return None


def keep_score(run: Path, metric: str, of: str, value: float) -> None:
    """Write a score for `kept_score` to find."""
    write_text(run / "score.json", json.dumps({"metric": metric, "of": of, "value": value}) + "\n")


def _text(path: Path) -> str:
    """Return what a file holds; nothing if it is gone."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
