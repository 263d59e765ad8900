"""Files that a command writes: refused when they hold something else, and written in one piece."""

import os
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from otoscribe.cli.terminal import printable
from otoscribe.errors import OtoscribeError, UsageError
from otoscribe.files import written_whole


def warn_if_unfinished(run: Path, what: str) -> None:
    """Say that a training run may still get better; a folder that is none has an error of its own."""
    if (run / "settings.json").is_file() and not (run / "done").is_file():
        print(f"{printable(str(run))} is not finished; its best epoch so far is {what}.", file=sys.stderr)


class Output:
    """A file named by an option of the command line, checked before the work begins.

    Args:
        option: the option that named it ("--output").
        name: the file, as it was given.
        inputs: files that the command reads, none of which may be overwritten.

    Raises:
        UsageError: it is a folder, cannot be a file, is one of `inputs`, or holds something other than text,
            because a slip must cost no recording.
    """

    def __init__(self, option: str, name: str, inputs: Iterable[str]) -> None:
        self._option = option
        try:
            # Resolved, so that writing whole replaces the file that a link leads to, and never the link.
            self.path = Path(os.path.realpath(name))
            problem = "is a folder" if name.endswith((os.sep, "/")) else self._problem(inputs)
        except OSError as error:
            problem = f"cannot be written: {_reason(error)}"
        if problem:
            raise UsageError(f"{name} {problem}. Choose another {option}.")

    def _problem(self, inputs: Iterable[str]) -> str:
        try:
            self.path.stat()
        except FileNotFoundError:
            return ""
        if not self.path.is_file():
            return "is not a file"
        if any(os.path.exists(file) and self.path.samefile(file) for file in inputs):  # noqa: PTH110 (a name may hold \0)
            return "is also read, and would be overwritten"
        with self.path.open("rb") as file:
            # Text has no zero byte, and the header of every audio format has one.
            if b"\0" in file.read(1 << 16):
                return "holds something other than text, maybe a recording, and would be overwritten"
        return ""

    def write(self, parts: Iterator[str]) -> None:
        """Write text whole; if there is none at all, an earlier file stays.

        Raises:
            OtoscribeError: the file cannot be written.
        """
        first = next(parts, None)
        if first is None:
            return
        try:
            with (
                written_whole(self.path) as temporary,
                temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
            ):
                file.writelines(chain([first], parts))
        except OSError as error:
            raise OtoscribeError(
                f"{self.path} cannot be written: {_reason(error)}. Choose another {self._option}."
            ) from error


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
