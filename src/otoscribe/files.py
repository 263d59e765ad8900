"""Files on disk: written whole or not at all, known by their checksum."""

import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Return the folder for what can be made again: `OTOSCRIBE_CACHE`, else the user's own cache."""
    chosen = os.environ.get("OTOSCRIBE_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("otoscribe"))


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder, and rename it to `path` when the block succeeds.

    A reader sees the old file or the new one, never half of one; if the block raises, the
    temporary file is removed and `path` stays as it was. The permissions of an old file stay in any case.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Shortened, because a name that is as long as a name may be must leave room for what is added.
    temporary = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(8)}{path.suffix[:20]}")
    try:
        old = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        old = None
    # Not by tempfile: its files are private, and a finished new file has the permissions of any.
    # In place of a private file, the temporary one is never less private, and can be written meanwhile.
    temporary.touch(0o666 if old is None else old | 0o600, exist_ok=False)
    # Kept for the end, as some libraries put a private file of their own in its place.
    mode = stat.S_IMODE(temporary.stat().st_mode) if old is None else old
    try:
        yield temporary
        with temporary.open("rb+") as written:  # writable, or Windows refuses to flush
            os.fsync(written.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all, the same bytes on every system."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
