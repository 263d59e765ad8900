"""What was found out by reading large files, such as their hashes; kept until they change."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from otoscribe.errors import AudioError, RunError
from otoscribe.files import write_text


class Known:
    """Answers about files, in a JSON file of their own; it may be lost at any time, which costs time only.

    A file counts as the same while its size and both its times stay.

    Args:
        path: the JSON file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._answers = _read(path)
        self._new: dict[str, list[Any]] = {}

    def get(self, question: str, files: Iterable[Path], find: Callable[[], Any]) -> Any:
        """Return the answer to a question about files.

        Args:
            question: everything that decides the answer besides the files' bytes.
            files: those that the answer rests on.
            find: finds the answer out, as JSON can hold it.
        """
        state = [_state_of(file) for file in files]
        if question in self._answers and self._answers[question][0] == state:
            return self._answers[question][1]
        answer = find()
        self._new[question] = self._answers[question] = [state, answer]
        return answer

    def save(self) -> None:
        """Write what is new, beside what other processes wrote meanwhile.

        Raises:
            RunError: it cannot be written.
        """
        if not self._new:
            return
        try:
            write_text(self._path, json.dumps(_read(self._path) | self._new))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise RunError(
                f"Nothing can be written in {self._path.parent}: {reason}. Choose another folder."
            ) from error
        self._new = {}


def _state_of(file: Path) -> list[Any]:
    try:
        found = file.stat()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise AudioError(f"{file} cannot be read: {reason}.") from error
    return [str(file.resolve()), found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _read(path: Path) -> dict[str, list[Any]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        question: answer
        for question, answer in found.items()
        if isinstance(answer, list) and len(answer) == 2  # which it is, unless somebody changed it
    }
