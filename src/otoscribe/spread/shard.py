"""Lists cut up: into the shares of several machines, and into groups that stay together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from otoscribe.errors import UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """A share of all there is to do, for one of several machines: what stands together stays together."""

    number: int
    """From 1."""
    of: int

    @classmethod
    def read(cls, text: str) -> "Shard":
        """Read "3/16".

        Raises:
            UsageError: it is no share.
        """
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise UsageError(f"{text!r} is no share. Write NUMBER/OF, from 1/16 to 16/16.")
        return cls(int(number), int(of))

    def share(self, things: Sequence[T]) -> list[T]:
        """Return the share, which is empty where there are fewer things than shares."""
        first, last = ((self.number + step) * len(things) // self.of for step in (-1, 0))
        return list(things[first:last])


def grouped(things: Sequence[T], size: int) -> list[Sequence[T]]:
    """Cut a list into groups of a size, of which the last may be smaller."""
    return [things[first : first + size] for first in range(0, len(things), size)]
