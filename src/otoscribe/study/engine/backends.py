"""Jobs → outcomes, in the order in which they are ready: in this process, or in several of this machine."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection

from otoscribe.errors import RunError
from otoscribe.study.engine.work import Job, Outcome, Shared, work

Backend = Callable[[Sequence[Job], Shared], Iterator[Outcome]]
"""Does jobs, in about their order, and yields what came of each as soon as it is known."""

ATTEMPTS = 3
"""How often in a row a worker process may die without any job done."""


def in_this_process(jobs: Sequence[Job], shared: Shared) -> Iterator[Outcome]:
    """Do one job after the other, a `Backend`."""
    for job in jobs:
        yield work(job, shared)


def in_processes(workers: int) -> Backend:
    """Return what does jobs in so many processes, which end with this one, however it ends."""

    def run(jobs: Sequence[Job], shared: Shared) -> Iterator[Outcome]:
        left, deaths = dict.fromkeys(jobs), 0
        while left:
            try:
                for outcome in _pooled(list(left), shared, workers):
                    del left[outcome.job]
                    deaths = 0
                    yield outcome
            except BrokenProcessPool as error:
                deaths += 1
                if deaths == ATTEMPTS:
                    raise RunError(
                        f"Worker processes were ended {ATTEMPTS} times before they got anything done, as "
                        "when memory is short. Take fewer of them (--workers N); what is done is kept."
                    ) from error

    return in_this_process if workers == 1 else run


def _pooled(jobs: Sequence[Job], shared: Shared, workers: int) -> Iterator[Outcome]:
    context = multiprocessing.get_context("spawn")
    # Nothing is ever sent: the workers see the other end close when this process is done or dead.
    alive, here = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(min(workers, len(jobs)), context, _begin, (shared, alive))
    try:
        for future in as_completed([pool.submit(_work, job) for job in jobs]):
            yield future.result()
    finally:
        here.close()
        pool.shutdown(cancel_futures=True)
        alive.close()


_shared: list[Shared] = []
"""Of this worker process."""


def _begin(shared: Shared, alive: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of Ctrl-C; the process that it is meant for ends this one
    _shared[:] = [shared]
    threading.Thread(target=_end_with, args=(alive,), daemon=True).start()


def _end_with(alive: Connection) -> None:
    alive.poll(None)
    os._exit(1)


def _work(job: Job) -> Outcome:
    return work(job, _shared[0])
