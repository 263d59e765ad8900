"""Files in an object store, or in any folder that fsspec can reach: a file is there whole or not at all."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec

from otoscribe.errors import RunError, UsageError
from otoscribe.files import written_whole

WHOLE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci"}
"""Protocols that show no half of a file that is being put."""


@dataclass(frozen=True)
class ObjectStore:
    """Where the files are.

    Raises:
        UsageError: fsspec knows no such address.
        RunError: the package that reaches it is not installed.
    """

    url: str = field(repr=False)
    """As fsspec takes it: `s3://bucket/paper`, `gs://bucket/paper`, `file:///folder`. May hold a password."""

    def __post_init__(self) -> None:
        protocol = fsspec.utils.get_protocol(self.url)
        known = protocol in {*fsspec.available_protocols(), *fsspec.registry}
        if not known or not self.url.strip():  # which would be the current folder
            reason = f"{self}: fsspec knows no {protocol}" if not known else f"{self.url!r}"
            raise UsageError(
                f"Nothing can be kept in {reason}. Name a URL such as s3://bucket/folder, gs://bucket/folder "
                "or file:///folder."
            )
        with self._opened("reached"):
            pass

    def __str__(self) -> str:
        """Return the URL, without a password."""
        return re.sub(r"//[^/]*@", "//", self.url).partition("?")[0]

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the bytes of all files in a folder and below, by their names in it; none without a folder.

        Nothing is known about these names: whoever makes paths of them checks them before.

        Raises:
            RunError: the store cannot be reached.
        """
        with self._opened("listed") as (fs, root):
            fs.invalidate_cache()
            inside = f"{root}/{folder}/"
            found = fs.find(inside.rstrip("/"), detail=True)
            return {path.removeprefix(inside): info["size"] for path, info in found.items()}

    def get(self, name: str, path: Path) -> None:
        """Fetch a file, unless it is gone.

        Raises:
            RunError: the store cannot be reached, or the path not be written.
        """
        with (
            self._opened("fetched") as (fs, root),
            suppress(FileNotFoundError),
            written_whole(path) as temporary,
        ):
            fs.get_file(f"{root}/{name}", str(temporary))

    def put(self, path: Path, name: str) -> None:
        """Put a file in the place of the one that is there, if there is any.

        Raises:
            RunError: the store cannot be reached.
        """
        with self._opened("put") as (fs, root):
            target = f"{root}/{name}"
            if WHOLE & ({fs.protocol} if isinstance(fs.protocol, str) else {*fs.protocol}):
                fs.put_file(str(path), target)
                return
            folder, _, last = target.rpartition("/")
            temporary = f"{folder}/.{secrets.token_hex(8)}.{last}"
            fs.makedirs(folder, exist_ok=True)
            fs.put_file(str(path), temporary)
            fs.mv(temporary, target)

    def delete(self, name: str) -> None:
        """Delete a file, unless it is gone.

        Raises:
            RunError: the store cannot be reached.
        """
        with self._opened("changed") as (fs, root), suppress(FileNotFoundError):
            fs.rm_file(f"{root}/{name}")

    @contextmanager
    def _opened(self, done: str) -> Iterator[tuple[Any, str]]:
        """Give the file system, which fsspec keeps, and the folder in it; failures become sentences."""
        try:
            fs, root = fsspec.core.url_to_fs(self.url)
            yield fs, root.rstrip("/")
        except ImportError as error:
            package = getattr(error.__cause__, "name", None)
            install = f" Type: pip install {package}" if package else ""
            raise RunError(f"{self} cannot be reached: {error}.{install}") from error
        except Exception as error:  # whatever the package of a store raises
            reason = getattr(error, "strerror", None) or str(error)
            if str(self) != self.url or not reason:
                reason = type(error).__name__
            # Not from it: its text may hold the password, and a traceback of it may be kept in a file.
            raise RunError(
                f"The files in {self} cannot be {done}: {reason}. Check address, credentials and network, "
                "and type the same command again; what was done here is kept."
            ) from None
