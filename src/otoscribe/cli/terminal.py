"""What every subcommand needs to talk to a person: printable text, a progress bar, quiet libraries."""

import contextlib
import io
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TextIO, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

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


class Messages(io.TextIOWrapper):
    """Standard error that drops what it cannot write: a message that nobody sees must cost no caption."""

    def write(self, text: str) -> int:
        """Write if possible."""
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Flush if possible."""
        with contextlib.suppress(OSError):
            super().flush()


def is_standard_error(stream: TextIO) -> bool:
    """Tell whether a stream writes to the process's standard error, and not, say, to a test's capture."""
    try:
        return stream.fileno() == 2
    except (OSError, io.UnsupportedOperation):
        return False


def _progress(period: float = 30) -> "Progress":
    # Here and not at the top: a command that shows nothing need not wait for rich.
    import rich.progress
    from rich.console import Console

    return rich.progress.Progress(
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        speed_estimate_period=period,
    )


def _write_beside(bar: "Progress | None", text: str, stream: TextIO) -> None:
    shared = bar is not None and stream.isatty()
    if bar and shared:
        bar.stop()
    stream.write(text)
    stream.flush()
    if bar and shared:
        bar.start()


class ProgressBar:
    """A bar on standard error, shown only to a terminal and only for more than one thing to do."""

    def __init__(self, total: int) -> None:
        self._bar: Progress | None = None
        if total > 1 and sys.stderr.isatty():
            self._bar = _progress()
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
        _write_beside(self._bar, text, stream)


class Bars:
    """Bars on standard error, one for each kind of work, shown only to a terminal.

    Args:
        period: seconds of the past by which the time that is left is guessed.
    """

    def __init__(self, period: float = 30) -> None:
        self._progress = _progress(period) if sys.stderr.isatty() else None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "Bars":
        if self._progress:
            self._progress.start()
        return self

    def __exit__(self, *raised: object) -> None:
        if self._progress:
            self._progress.stop()

    def show(self, what: str, done: int, total: int) -> None:
        """Show how much of some work is done."""
        if self._progress:
            if what not in self._tasks:
                self._tasks[what] = self._progress.add_task(what, total=total)
            self._progress.update(self._tasks[what], completed=done, total=total)

    def write(self, text: str) -> None:
        """Write to standard output at once; if that is the terminal, the bars step aside meanwhile."""
        _write_beside(self._progress, text, sys.stdout)


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Discard what C libraries write to standard error themselves; Python's own goes on.

    mpg123, inside libsndfile, prints a line for every oddity of an MP3, past every Python setting.
    """
    error = sys.stderr
    with contextlib.suppress(OSError):
        error.flush()
    with contextlib.ExitStack() as restored:  # everything, also if one step of it fails
        try:
            kept = os.dup(2)
        except OSError:  # the shell closed it
            yield
            return
        restored.callback(os.close, kept)
        if is_standard_error(error):
            restored.callback(setattr, sys, "stderr", error)
            sys.stderr = Messages(
                open(kept, "wb", closefd=False),  # noqa: SIM115
                error.encoding,
                error.errors,
                line_buffering=True,
            )
            restored.callback(sys.stderr.flush)
        restored.callback(os.dup2, kept, 2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        restored.callback(os.close, nowhere)
        os.dup2(nowhere, 2)
        yield
