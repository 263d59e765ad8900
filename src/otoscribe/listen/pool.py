"""Threads that work ahead of whoever takes the results, in order and not far."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(
    work: Callable[[T], R], things: Iterable[T], threads: int, ahead: int
) -> Generator[R, None, None]:
    """Work on things, several at a time; as `map`, results come in their order, and so does what is raised.

    No thread is left when the iterator ends, or is closed before: what has not begun by then never does.

    Args:
        work: called in any of the threads.
        things: taken one by one, when a result is asked for, in the thread that asks.
        threads: how many; one is the thread that asks, as in `map`.
        ahead: so many things are taken at most before the first of them has its result.
    """
    if threads == 1:
        yield from map(work, things)
        return
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(threads, "otoscribe")
    try:
        for thing in things:
            waiting.append(pool.submit(work, thing))
            if len(waiting) == ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
