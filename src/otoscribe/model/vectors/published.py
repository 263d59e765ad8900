"""Where published word vectors come from, and where they lie."""

from dataclasses import dataclass
from pathlib import Path

from otoscribe import files
from otoscribe.errors import WeightsError
from otoscribe.fetch.assets import Ways


@dataclass(frozen=True)
class WordsSpec:
    """Where published vectors come from."""

    name: str
    paper: str
    licence: str
    files: Ways
    """Each entry is one way to fetch them: all files that it needs."""
    layouts: tuple[tuple[str, ...], ...]
    """Names of the files in a folder, each entry one way to have them, the one that is read fastest first."""


def words_folder(name: str) -> Path:
    """Return where `otoscribe get NAME` puts published vectors."""
    return files.cache_folder() / "words" / name


def found_files(spec: WordsSpec, folder: Path | None) -> tuple[Path, ...]:
    """Return the files of the first layout that a folder has in full.

    Raises:
        WeightsError: it has none.
    """
    where = words_folder(spec.name) if folder is None else folder
    for layout in spec.layouts:
        if all((where / name).is_file() for name in layout):
            return tuple(where / name for name in layout)
    names = " or ".join(" and ".join(layout) for layout in spec.layouts)
    raise WeightsError(
        f"The vectors of {spec.name} are not in {where}. Type: otoscribe get {spec.name}, or name a folder "
        f"that holds {names} (--words FOLDER)."
    )
