"""Things done in this process or in several: the same results, whichever processes end meanwhile."""

import os
from functools import partial
from pathlib import Path

import pytest

from otoscribe.errors import AudioError, RunError
from otoscribe.spread.backends import ATTEMPTS, Backend, in_processes, in_this_process
from support.spread_work import deadly, process_of, refused, square

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX")


@pytest.mark.parametrize("backend", [in_this_process, in_processes(1), in_processes(2)])
def test_each_thing_comes_with_its_result_also_if_it_is_there_twice(backend: Backend) -> None:
    assert sorted(backend(square, [3, 2, 2, 5])) == [(2, 4), (2, 4), (3, 9), (5, 25)]
    assert list(backend(square, [])) == []


def test_processes_are_others() -> None:
    assert os.getpid() not in dict(in_processes(2)(process_of, [1, 2, 3])).values()
    assert set(dict(in_processes(1)(process_of, [1, 2])).values()) == {os.getpid()}


@pytest.mark.parametrize("backend", [in_this_process, in_processes(2)])
def test_what_work_raises_is_raised(backend: Backend) -> None:
    with pytest.raises(AudioError, match="1 is no recording"):
        list(backend(refused, [1]))


@posix
def test_what_processes_that_ended_left_is_done_by_others(tmp_path: Path) -> None:
    done = dict(in_processes(2)(partial(deadly, tmp_path, ATTEMPTS - 1), [0, 1, 2]))
    assert done == {0: 0, 1: 1, 2: 4}
    assert len(list(tmp_path.iterdir())) == ATTEMPTS - 1


@posix
def test_processes_that_only_end_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"ended 3 times before .*--workers N"):
        list(in_processes(2)(partial(deadly, tmp_path, 99), [1]))
    assert len(list(tmp_path.iterdir())) == ATTEMPTS
