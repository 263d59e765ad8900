"""Files on disk: written whole or not at all, known by their checksum."""

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder, and rename it to `path` when the block succeeds.

    A reader sees the old file or the new one, never half of one; if the block raises, the
    temporary file is removed and `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Shortened, because a name that is as long as a name may be must leave room for what is added.
    temporary = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(8)}{path.suffix[:20]}")
    # Not by tempfile: its files are private, and the finished file has the permissions of any new one.
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        with temporary.open("rb+") as written:  # writable, or Windows refuses to flush
            os.fsync(written.fileno())
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
