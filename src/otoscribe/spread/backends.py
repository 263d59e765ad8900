"""Things → results, in the order in which they are ready: in this process, or in several of this machine."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol, TypeVar

from otoscribe.errors import RunError

Thing = TypeVar("Thing")
Result = TypeVar("Result")

ATTEMPTS = 3
"""How often in a row a worker process may die without anything done."""


@dataclass(frozen=True)
class Lost:
    """A thing without a result: whatever works on it dies."""

    reason: str
    """In a line."""


class Backend(Protocol):
    """Does things in about their order, wherever."""

    def __call__(
        self, work: Callable[[Thing], Result], things: Sequence[Thing]
    ) -> Iterator[tuple[Thing, Result | Lost]]:
        """Yield each thing with its result, as soon as it is there.

        Args:
            work: can be pickled, and reaches each worker once, so it holds what is large. A thing that one
                worker began may be done again by another.
            things: can be pickled.

        Raises:
            OtoscribeError: what `work` raised; results of other things may be lost.
        """


def in_this_process(
    work: Callable[[Thing], Result], things: Sequence[Thing]
) -> Iterator[tuple[Thing, Result | Lost]]:
    """Do one thing after the other, a `Backend`."""
    for thing in things:
        yield thing, work(thing)


def in_processes(workers: int) -> Backend:
    """Return what does things in so many processes, which end with this one, however it ends."""

    def run(
        work: Callable[[Thing], Result], things: Sequence[Thing]
    ) -> Iterator[tuple[Thing, Result | Lost]]:
        left, deaths = dict(enumerate(things)), 0
        while left:
            try:
                for place, result in _pooled(work, left.copy(), workers):
                    deaths = 0
                    yield left.pop(place), result
            except BrokenProcessPool as error:
                deaths += 1
                if deaths == ATTEMPTS:
                    raise RunError(
                        f"Worker processes were ended {ATTEMPTS} times before they got anything done, as "
                        "when memory is short. Take fewer of them (--workers N); what is done is kept."
                    ) from error

    return in_this_process if workers == 1 else run


def _pooled(
    work: Callable[[Thing], Result], things: Mapping[int, Thing], workers: int
) -> Iterator[tuple[int, Result]]:
    context = multiprocessing.get_context("spawn")
    # Nothing is ever sent: the workers see the other end close when this process is done or dead.
    alive, here = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(min(workers, len(things)), context, _begin, (work, alive))
    try:
        places = {pool.submit(_do, thing): place for place, thing in things.items()}
        for future in as_completed(places):
            yield places.pop(future), future.result()
    finally:
        here.close()
        pool.shutdown(cancel_futures=True)
        alive.close()


_work: list[Callable[[Any], Any]] = []
"""Of this worker process."""


def _begin(work: Callable[[Any], Any], alive: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of Ctrl-C; the process that it is meant for ends this one
    _work[:] = [work]
    threading.Thread(target=_end_with, args=(alive,), daemon=True).start()


def _end_with(alive: Connection) -> None:
    alive.poll(None)
    os._exit(1)


def _do(thing: Any) -> Any:
    return _work[0](thing)
