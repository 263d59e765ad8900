"""Batches: which recordings are listened to and decoded together, whatever they are."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """What a batch may hold at most; a thing that exceeds a limit by itself is a batch of its own."""

    clips: int
    """Things that last; most of the gain of batching comes with the first 32."""
    seconds: float
    """Things that last times the longest one's seconds: so long one does not fill up many short ones, and
    what waits beside it is done first."""
    things: int
    """Things of any kind, so that results come even where nothing lasts."""


def batched(things: Iterable[T], seconds: Callable[[T], float], limits: Limits) -> Iterator[list[T]]:
    """Cut things into batches, in their order.

    Args:
        things: taken one by one, and no more than one batch and the next thing at a time.
        seconds: how long a thing lasts; 0 for what is only passed on, such as a failure.
        limits: of every batch.
    """
    batch: list[T] = []
    clips, longest = 0, 0.0
    for thing in things:
        lasts = seconds(thing)
        if lasts > 0.0:
            filled = (clips + 1) * max(longest, lasts)
            if clips and (clips == limits.clips or filled > limits.seconds):
                yield batch
                batch, clips, longest = [], 0, 0.0
            clips, longest = clips + 1, max(longest, lasts)
        batch.append(thing)
        if clips == limits.clips or len(batch) == limits.things or longest > limits.seconds:
            yield batch
            batch, clips, longest = [], 0, 0.0
    if batch:
        yield batch
