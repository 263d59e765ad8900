"""Files that a command writes: refused when they hold something else, and written in one piece."""

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from otoscribe.errors import OtoscribeError, UsageError
from otoscribe.files import written_whole


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
        if name.endswith((os.sep, "/")):
            raise UsageError(f"{name} is a folder. Name a file in it, or leave out {option}.")
        self._option = option
        try:
            # Resolved, so that writing whole replaces the file that a link leads to, and never the link.
            self.path = Path(os.path.realpath(name))
            exists = _exists(self.path)
        except OSError as error:
            raise UsageError(
                f"{name} cannot be written: {_reason(error)}. Choose another {option}."
            ) from error
        if not exists:
            return
        if not self.path.is_file():
            raise UsageError(
                f"{name} cannot be written: it is not a file. Leave out {option}, or choose another."
            )
        if any(os.path.exists(file) and self.path.samefile(file) for file in inputs):  # noqa: PTH110 (a name may hold \0)
            raise UsageError(f"{name} is also read, and would be overwritten; choose another {option}.")
        if self._is_binary():
            raise UsageError(
                f"{name} holds something other than text, maybe a recording, and would be overwritten; "
                "choose another name, or remove it first."
            )

    def write(self, parts: Iterator[str] | Sequence[str]) -> None:
        """Write text whole; if there is none at all, an earlier file stays.

        Raises:
            OtoscribeError: the file cannot be written.
        """
        parts = iter(parts)
        first = next(parts, None)
        if first is None:  # nothing is no reason to replace an earlier output
            return
        try:
            with (
                written_whole(self.path) as temporary,
                temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
            ):
                file.writelines(chain([first], parts))
        except OSError as error:
            raise self._unwritten(error) from error

    def _is_binary(self) -> bool:
        # Text has no zero byte, and the header of every audio format has one.
        try:
            with self.path.open("rb") as file:
                return b"\0" in file.read(1 << 16)
        except OSError as error:
            raise self._unwritten(error) from error

    def _unwritten(self, error: OSError) -> OtoscribeError:
        return OtoscribeError(
            f"{self.path} cannot be written: {_reason(error)}. Choose another {self._option}."
        )


def _exists(target: Path) -> bool:
    try:
        target.stat()
    except (FileNotFoundError, PermissionError):  # the latter is no misuse; writing will say so
        return False
    return True


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
