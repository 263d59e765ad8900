"""Runs a study in processes that are killed while they write, until one is done.

The current folder holds the study. Each process is a copy of this one, which has imported everything and has
no other thread. It is killed with SIGKILL at a write, the same ones for the same seed: before the file has
its name, or just after. Prints how many were killed.
"""

import os
import random
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What is imported late is imported here, and not in every copy.
import av  # noqa: F401
import tensorboardX  # noqa: F401
import torch._dynamo  # noqa: F401

from otoscribe import files
from otoscribe.cli.main import main
from otoscribe.spread import backends  # noqa: F401
from otoscribe.study.engine import runner, scoring  # noqa: F401
from otoscribe.train import run

ARGUMENTS = ["study", "run", "study.toml", "--workers", "1"]
MOST = 3
"""Writes before the one at which a process is killed."""


def killed_at(writes: int, after: bool) -> bool:
    """Run the study until so many files were written; tell whether it was killed, and not done before."""
    child = os.fork()
    if child == 0:
        _plant(writes, after)
        main(ARGUMENTS)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.waitstatus_to_exitcode(status) == 0, status
    return False


def _plant(writes: int, after: bool) -> None:
    whole = files.written_whole
    left = writes

    @contextmanager
    def deadly(path: Path) -> Iterator[Path]:
        nonlocal left
        left -= 1
        with whole(path) as temporary:
            yield temporary
            if left == 0 and not after:
                os.kill(os.getpid(), signal.SIGKILL)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    files.written_whole = deadly
    run.written_whole = deadly


if __name__ == "__main__":
    drawn = random.Random(int(sys.argv[1]))
    kills = 0
    while killed_at(drawn.randint(1, MOST), drawn.random() < 0.5):
        kills += 1
    print(f"killed {kills} times")
