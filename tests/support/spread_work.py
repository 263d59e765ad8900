"""Work for processes of their own, which a test's own functions cannot reach: they are told by files."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from otoscribe.errors import AudioError
from otoscribe.listen.captioner import Captioner
from otoscribe.listen.results import Caption, Failure


def square(thing: int) -> int:
    return thing * thing


def process_of(thing: int) -> int:
    return os.getpid()


def refused(thing: int) -> int:
    raise AudioError(f"{thing} is no recording.")


def broken(thing: int) -> int:
    raise ValueError(f"{thing} is odd\nor even")


def deadly(folder: Path, times: int, thing: int) -> int:
    """End the process that works on thing 1, so many times; then return its square."""
    if thing == 1:
        deaths = len(list(folder.iterdir()))
        if deaths < times:
            (folder / str(deaths)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return square(thing)


def held(
    folder: Path, first: str, captioner: Captioner, recordings: Sequence[str]
) -> list[Caption | Failure]:
    """Caption; say first, in a pipe, that it begins, and from the recording `first` on, wait for a lock."""
    import fcntl

    with (folder / "begun").open("wb") as pipe:
        pipe.write(b".")
    with (folder / "lock").open("rb") as lock:
        if recordings[0] >= first:
            fcntl.flock(lock, fcntl.LOCK_SH)
        return list(captioner.caption_many(recordings))
