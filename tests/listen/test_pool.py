"""A pool of threads: order, how far it goes ahead, and that no thread is left."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from otoscribe.listen import pool as module
from otoscribe.listen.pool import in_order
from support.threads import own_threads

THREADS = (1, 3)


def numbers(upto: int, taken: list[int]) -> Iterator[int]:
    for number in range(upto):
        taken.append(number)
        yield number


@pytest.mark.parametrize("threads", THREADS)
def test_results_are_those_of_map(threads: int) -> None:
    for upto in (0, 1, 3, 20):
        assert list(in_order(lambda number: number**2, range(upto), threads, 5)) == [
            number**2 for number in range(upto)
        ]
    assert not own_threads()


def test_what_is_done_first_waits_for_its_turn() -> None:
    later = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert later.wait(30)
        elif number == 2:
            later.set()
        return number

    assert list(in_order(work, range(6), 2, 4)) == [0, 1, 2, 3, 4, 5]


def test_threads_work_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=30)

    def work(number: int) -> int:
        together.wait()
        return number

    assert list(in_order(work, range(6), 3, 6)) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(("threads", "most"), [(1, 1), (3, 5)])
def test_things_are_taken_when_results_are_asked_for(threads: int, most: int) -> None:
    taken: list[int] = []
    askers = set()

    def things() -> Iterator[int]:
        for number in numbers(100, taken):
            askers.add(threading.current_thread())
            yield number

    results = in_order(str, things(), threads, 5)
    assert taken == []
    for asked in range(10):
        assert next(results) == str(asked)
        assert len(taken) == asked + most
    results.close()
    assert len(taken) == 9 + most
    assert askers == {threading.current_thread()}


def test_closed_early_it_finishes_what_was_begun_only(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    both, closing = threading.Barrier(3, timeout=30), threading.Event()

    class Watched(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(False, cancel_futures=cancel_futures)
            closing.set()
            super().shutdown(wait)

    def work(number: int) -> int:
        begun.append(number)
        if number:
            both.wait()
            assert closing.wait(30)
        return number

    monkeypatch.setattr(module, "ThreadPoolExecutor", Watched)
    results = in_order(work, range(100), 2, 8)
    assert next(results) == 0
    both.wait()
    results.close()
    assert sorted(begun) == [0, 1, 2]
    assert not own_threads()


@pytest.mark.parametrize("threads", THREADS)
def test_what_is_raised_comes_in_its_turn_and_ends_it(threads: int) -> None:
    def work(number: int) -> float:
        return 1 / (3 - number)

    results = in_order(work, range(100), threads, 5)
    assert [next(results) for _ in range(3)] == [1 / 3, 1 / 2, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []
    assert not own_threads()


@pytest.mark.parametrize("threads", THREADS)
def test_what_taking_raises_ends_it(threads: int) -> None:
    def things() -> Iterator[int]:
        yield 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(in_order(str, things(), threads, 5))
    assert not own_threads()
