"""Folders → the recordings in them."""

import os
from collections.abc import Iterable, Iterator

from otoscribe.errors import AudioError


def recordings_in(names: Iterable[str]) -> list[str]:
    """Replace each folder by the recordings in it and in its folders, by their endings (`names.ENDINGS`).

    Files and folders whose names begin with a dot are left out, and so are folders that a link leads to. The
    order depends on the names alone, so that it is the same on every machine.

    Args:
        names: of files, which stay what they are, and of folders.

    Raises:
        AudioError: a folder cannot be read, or holds no recording.
    """
    found: list[str] = []
    for name in names:
        found.extend(_within(name) if os.path.isdir(name) else [name])  # noqa: PTH112 (it may be one that no file can have)
    return found


def _within(folder: str) -> list[str]:
    found = sorted(_walked(folder), key=lambda path: path.split(os.sep))  # noqa: PTH206 (as it was given)
    if not found:
        raise AudioError(f"{folder} holds no recording: no file with an ending such as .wav, .flac or .mp3.")
    return found


def _walked(folder: str) -> Iterator[str]:
    # Here and not at the top: who names files need not wait for what matches names.
    from otoscribe.text.names import ENDINGS

    for parent, folders, files in os.walk(folder, onerror=_refused):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            ending = os.path.splitext(name)[1].removeprefix(".").lower()  # noqa: PTH122
            if ending in ENDINGS and not name.startswith("."):
                yield os.path.join(parent, name)  # noqa: PTH118 (a name that begins with ./ keeps it)


def _refused(error: OSError) -> None:
    raise AudioError(f"{error.filename} cannot be read: {(error.strerror or str(error)).lower()}.") from error
