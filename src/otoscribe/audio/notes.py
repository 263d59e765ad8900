"""What is odd about a recording that can nevertheless be heard."""

from collections.abc import Iterator


class Notes:
    """Collects what is odd, each thing once, in the order in which it was found.

    A note is a clause without the recording's name and without a full stop: "it is silent".
    """

    def __init__(self) -> None:
        self._found: dict[str, None] = {}

    def add(self, note: str) -> None:
        """Add a note, unless it was said before."""
        self._found.setdefault(note)

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)


def spoken(seconds: float) -> str:
    """Return a duration for people, in three digits of hours, seconds or milliseconds."""
    if seconds >= 36_000:
        return f"{seconds / 3600:.0f} hours"
    if seconds < 0.0995:
        return f"{1000 * seconds:.3g} ms" if seconds >= 0.0001 else "0 s"
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:.0f} s"
