"""The engine of every measurement: ours and the peers do one work in turn, A B A B ..., and ratios come out.

A row of the bench makes `Work`s and yields what `compare` gives for each. Nothing is timed before the work's
own check has found that all ways give the right result.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

OURS = "otoscribe"


@dataclass(frozen=True)
class Peer:
    """Another way to do a work."""

    name: str
    run: Callable[[int], object]
    """Does one part of the work, 0 first."""
    target: float | None = None
    """How many times faster ours is to be; None: nothing was asked for."""


@dataclass(frozen=True)
class Work:
    """One work that ours and the peers do with the same inputs, sizes and threads."""

    name: str
    setting: str
    """Sizes, precision, threads: what else decides how long it takes."""
    ours: Callable[[int], object]
    """As `Peer.run`."""
    peers: Sequence[Peer]
    check: Callable[[], None]
    """Compares the results of all ways. Raises AssertionError where one is wrong."""
    rounds: int = 5
    """How often everything is done."""
    parts: int = 1
    """Parts that the work is cut into. All ways do a part before the next, so that what disturbs the machine
    for a while disturbs all alike; what counts is the sum."""


@dataclass(frozen=True)
class Result:
    """How ours compares with one peer."""

    work: str
    setting: str
    peer: str
    ratio: float
    """Median over the rounds of the peer's cost by ours: above 1, ours is better."""
    spread: tuple[float, float]
    """The lowest and the highest round's."""
    ours: float
    """Median of our cost."""
    theirs: float
    """Median of the peer's."""
    unit: str
    target: float | None


def cores(threads: int) -> str:
    """Return how a setting names its threads."""
    return f"{threads} core{'s' if threads > 1 else ''}"


def measure(work: Work, clock: Callable[[], float] = time.perf_counter) -> dict[str, list[float]]:
    """Return the seconds that each way took in every round, by name.

    Args:
        work: what is done.
        clock: gives the time in seconds.

    Raises:
        AssertionError: a result is wrong; nothing was timed.
    """
    work.check()
    ways: dict[str, Callable[[int], object]] = {OURS: work.ours}
    ways |= {peer.name: peer.run for peer in work.peers}
    for run in ways.values():
        run(0)  # the first time is slower: memory is claimed, kernels are chosen
    seconds = {name: [0.0] * work.rounds for name in ways}
    for turn in range(work.rounds):
        for part in range(work.parts):
            for name, run in ways.items():
                begin = clock()
                run(part)
                seconds[name][turn] += clock() - begin
    return seconds


def rated(
    work: str,
    setting: str,
    costs: Mapping[str, Sequence[float]],
    targets: Mapping[str, float | None],
    unit: str = "s",
) -> Iterator[Result]:
    """Compare costs, the less the better, with ours, round by round.

    Args:
        work: what was done.
        setting: what else decides the costs.
        costs: of every round, by name; ours is `OURS`.
        targets: of the peers, by name.
        unit: of the costs.

    Yields:
        A result for each peer, in order.
    """
    ours = costs[OURS]
    for peer, target in targets.items():
        ratios = [theirs / own for theirs, own in zip(costs[peer], ours, strict=True)]
        yield Result(
            work=work,
            setting=setting,
            peer=peer,
            ratio=statistics.median(ratios),
            spread=(min(ratios), max(ratios)),
            ours=statistics.median(ours),
            theirs=statistics.median(costs[peer]),
            unit=unit,
            target=target,
        )


def compare(work: Work) -> Iterator[Result]:
    """Check and measure a work; see `measure` and `rated`."""
    print(f"{work.name}, {work.setting} ...", file=sys.stderr, flush=True)
    yield from rated(work.name, work.setting, measure(work), {peer.name: peer.target for peer in work.peers})
