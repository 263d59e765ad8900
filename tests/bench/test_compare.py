"""The engine of the bench, by a clock that only moves when a work is done."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest

from bench import rows
from bench.compare import OURS, Peer, Result, Work, measure, rated
from bench.report import figures, table


@dataclass
class Planted:
    """Works that take planted seconds, and the clock that they move."""

    seconds: dict[str, Iterator[float]]
    now: float = 0.0
    order: list[tuple[str, int]] = field(default_factory=list)
    readings: int = 0

    def way(self, name: str) -> Callable[[int], None]:
        def run(part: int) -> None:
            self.order.append((name, part))
            self.now += next(self.seconds[name])

        return run

    def clock(self) -> float:
        self.readings += 1
        return self.now


def planted(**seconds: list[float]) -> Planted:
    return Planted({name: iter(values) for name, values in seconds.items()})


def nothing_wrong() -> None:
    return None


def work(ways: Planted, check: Callable[[], None] = nothing_wrong, rounds: int = 3, parts: int = 1) -> Work:
    peers = [Peer(name, ways.way(name), target=2.0) for name in ways.seconds if name != OURS]
    return Work("sawing", "a log", ways.way(OURS), peers, check, rounds, parts)


def test_all_take_turns_after_a_warm_up_that_does_not_count() -> None:
    ways = planted(otoscribe=[100, 1, 2, 4], peer=[1, 3, 5, 7], other=[1, 9, 9, 9])
    seconds = measure(work(ways), ways.clock)
    assert seconds == {OURS: [1, 2, 4], "peer": [3, 5, 7], "other": [9, 9, 9]}
    assert [name for name, _ in ways.order] == [OURS, "peer", "other"] * 4


def test_parts_take_turns_and_add_up() -> None:
    ways = planted(otoscribe=[50, 1, 2, 3, 4], peer=[50, 10, 20, 30, 40])
    assert measure(work(ways, rounds=2, parts=2), ways.clock) == {OURS: [3, 7], "peer": [30, 70]}
    assert ways.order[2:] == [(OURS, 0), ("peer", 0), (OURS, 1), ("peer", 1)] * 2


def test_a_wrong_result_is_never_timed() -> None:
    ways = planted(otoscribe=[1] * 4, peer=[1] * 4)

    def wrong() -> None:
        raise AssertionError("the captions differ")

    with pytest.raises(AssertionError, match="the captions differ"):
        measure(work(ways, wrong), ways.clock)
    assert ways.readings == 0
    assert ways.order == []


def test_ratios_are_of_pairs_and_the_median_is_theirs() -> None:
    # The machine is ten times slower in the second round, for both.
    costs = {OURS: [1.0, 10.0, 2.0], "peer": [4.0, 30.0, 4.0]}
    (result,) = rated("sawing", "a log", costs, {"peer": 2.5})
    assert result == Result("sawing", "a log", "peer", 3.0, (2.0, 4.0), 2.0, 4.0, "s", 2.5)


def test_figures_are_what_programs_read() -> None:
    results = list(rated("sawing", "a log", {OURS: [1.0], "peer": [3.0]}, {"peer": None}))
    assert json.loads(figures(results)) == [
        {"work": "sawing", "setting": "a log", "peer": "peer", "ratio": 3.0, "spread": [3.0, 3.0]}
    ]


def test_table_shows_amounts_and_marks_the_peer_that_comes_closest() -> None:
    costs = {OURS: [0.002], "peer": [0.003], "other": [0.0025]}
    lines = table(list(rated("sawing", "a log", costs, {"peer": 4, "other": 4}))).splitlines()
    assert lines[2:] == [
        "| sawing | a log | 2 ms | peer | 3 ms | 1.50 | 1.50 to 1.50 | 4 |",
        "| sawing | a log | 2 ms | other | 2.5 ms | **1.25** | 1.25 to 1.25 | 4 |",
    ]


def test_what_a_row_gave_before_it_failed_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def results(threads: int, quick: bool) -> Iterator[Result]:
        yield from rated("sawing", f"{threads} hands", {OURS: [1.0], "peer": [2.0]}, {"peer": None})
        raise AssertionError("the second log is whole\nand more")

    row = ModuleType("bench.sawing")
    row.results = results  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, row.__name__, row)
    found, failure = rows.measured("sawing", 2, quick=True)
    assert [(result.setting, result.ratio) for result in found] == [("2 hands", 2.0)]
    assert failure == "sawing: AssertionError: the second log is whole"


def test_every_row_has_its_file() -> None:
    folder = Path(rows.__file__).parent
    assert [
        row for row in rows.ROWS if "\ndef results(" not in (folder / f"{row}.py").read_text("utf-8")
    ] == []
