"""What every subcommand needs to talk to a person: printable text, a progress bar, quiet libraries."""

import contextlib
import io
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TextIO, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")


def printable(text: str) -> str:
    r"""Escape control characters (`\n`, `\x1b`), so that no file name breaks a line or commands the terminal.

    Undecodable bytes of file names stay, and go out as they came in.
    """
    return "".join(
        character
        if character.isprintable() or "\udc80" <= character <= "\udcff"
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


class ProgressBar:
    """A bar on standard error, shown only to a terminal and only for more than one thing to do."""

    def __init__(self, total: int) -> None:
        self._bar: Progress | None = None
        if total > 1 and sys.stderr.isatty():
            import rich.progress
            from rich.console import Console

            self._bar = rich.progress.Progress(
                console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._task = self._bar.add_task("listening", total=total)

    def __enter__(self) -> "ProgressBar":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *raised: object) -> None:
        if self._bar:
            self._bar.stop()

    def counted(self, things: Iterable[T]) -> Iterator[T]:
        """Pass things on; one counts as done when the next is asked for."""
        for thing in things:
            yield thing
            if self._bar:
                self._bar.advance(self._task)

    def write(self, text: str, stream: TextIO) -> None:
        """Write to a stream at once; if that is the terminal, the bar steps aside meanwhile."""
        shared = self._bar is not None and stream.isatty()
        if self._bar and shared:
            self._bar.stop()
        stream.write(text)
        stream.flush()
        if self._bar and shared:
            self._bar.start()


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Discard what C libraries write to standard error themselves; Python's own goes on.

    mpg123, inside libsndfile, prints a line for every oddity of an MP3, past every Python setting.
    """
    error = sys.stderr
    error.flush()
    try:
        kept = os.dup(2)
    except OSError:  # the shell closed it
        yield
        return
    try:
        moved = error.fileno() == 2
    except (OSError, io.UnsupportedOperation):
        moved = False
    try:
        if moved:
            sys.stderr = open(  # noqa: SIM115
                kept, "w", buffering=1, encoding=error.encoding, errors=error.errors, closefd=False
            )
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        if moved:
            sys.stderr.flush()
            sys.stderr = error
        os.dup2(kept, 2)
        os.close(kept)
