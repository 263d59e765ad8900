"""What a bundle is: the contents of its manifest, how it is written, and the files that it vouches for."""

import hashlib
import json
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from otoscribe import files
from otoscribe.audio.pieces import ReceptiveField
from otoscribe.errors import BundleError, UsageError
from otoscribe.search.options import Decoding
from otoscribe.settings import Frozen

MANIFEST = "manifest.json"
CARD = "README.md"
FILES = ("encoder.onnx", "adapter.onnx", "step.onnx", "vocabulary.json")
"""What decides a caption."""
FORMAT = 4

_MANIFEST_BYTES = 1 << 20
"""A manifest has a few thousand; more is no manifest, and would be held in memory before that shows."""

AGAIN = "Copy, download or export the model again."


Signs = tuple[float, float, float, float, float, float]
"""One number for every sign that a caption is true."""


class StoredFile(Frozen):
    """What a file of the bundle must be."""

    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(Frozen):
    """The contents of manifest.json."""

    format: Literal[4]
    name: Annotated[str, Field(min_length=1)]
    version: str
    sample_rate: Annotated[int, Field(ge=1_000, le=1_000_000)]
    """Hz; of the waveforms that encoder.onnx takes."""
    frame_seconds: Annotated[float, Field(gt=0, le=60)]
    """Time from one frame of the encoder to the next."""
    longest_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """Longer recordings are refused."""
    receptive_field: ReceptiveField | None = None
    """How far a frame of the encoder sees, by which a long recording is encoded in pieces; None: it takes a
    recording whole."""
    search: Decoding
    """How the model decodes unless asked otherwise; may be edited."""
    styles: Annotated[tuple[str, ...], Field(strict=False)] = ()  # JSON knows lists only
    """Ways of writing, which the first places of the memory stand for; the first is the model's unless asked
    otherwise. Empty: it has one way only."""
    confidence: Annotated[Signs | None, Field(strict=False)] = None
    """Weights of the log-odds that a caption names a sound which is there, by the signs of it that
    `listen.grounded.Ground` tells; None: the model knows of words only."""
    settings: dict[str, Any]
    """How the model was made, for information."""
    files: dict[str, StoredFile]


def write_manifest(
    folder: Path,
    *,
    name: str,
    version: str,
    sample_rate: int,
    frame_seconds: float,
    longest_seconds: float,
    search: Decoding,
    settings: Mapping[str, Any],
    receptive_field: ReceptiveField | None = None,
    styles: Sequence[str] = (),
    confidence: Signs | None = None,
) -> Manifest:
    """Write manifest.json for the files in `folder`, which are complete by now; see `Manifest`.

    Raises:
        BundleError: a file is missing, or a value is not allowed.
    """
    stored = {}
    for file in FILES:
        if not (folder / file).is_file():
            raise BundleError(f"{folder} cannot become a bundle: it has no {file}.")
        stored[file] = {"bytes": (folder / file).stat().st_size, "sha256": files.sha256(folder / file)}
    content = {
        "format": FORMAT,
        "name": name,
        "version": version,
        "sample_rate": sample_rate,
        "frame_seconds": frame_seconds,
        "longest_seconds": longest_seconds,
        **({"receptive_field": receptive_field.model_dump()} if receptive_field else {}),
        "search": search.model_dump(include=set(Decoding.model_fields)),
        **({"styles": list(styles)} if styles else {}),
        **({"confidence": list(confidence)} if confidence else {}),
        "settings": dict(settings),
        "files": stored,
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    manifest = _validated(folder, text)
    files.write_text(folder / MANIFEST, text)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Read a bundle's manifest.

    Raises:
        BundleError: there is none, or it is not valid.
    """
    try:
        # What else lies there, a licence or a picture for the card, is nobody's business.
        there = {entry.name for entry in folder.iterdir()}
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise BundleError(f"There is no model at {folder}: a model is a folder with a {MANIFEST}.") from error
    except OSError as error:
        raise BundleError(
            f"The model folder {folder} cannot be read: {(error.strerror or str(error)).lower()}."
        ) from error
    if MANIFEST not in there and "settings.json" in there:
        raise BundleError(f"{folder} is a training run. Make a model of it: otoscribe export {folder} MODEL")
    if MANIFEST not in there:
        raise BundleError(f"{folder} is not a model: it has no {MANIFEST}.")
    content = read_file(folder / MANIFEST, _MANIFEST_BYTES)
    if len(content) > _MANIFEST_BYTES:
        raise BundleError(f"{folder / MANIFEST} has more than {_MANIFEST_BYTES} bytes. {AGAIN}")
    return _validated(folder, text_of(folder / MANIFEST, content))


def read_verified(folder: Path, name: str, stored: StoredFile) -> bytes:
    """Return the bytes of a file that are what the manifest says.

    Raises:
        BundleError: the file cannot be read, or has other bytes.
    """
    content = read_file(folder / name, stored.bytes)
    if len(content) != stored.bytes:
        raise BundleError(
            f"{folder / name} has {(folder / name).stat().st_size} bytes, the manifest says {stored.bytes}. "
            f"{AGAIN}"
        )
    if hashlib.sha256(content).hexdigest() != stored.sha256:
        raise BundleError(f"{folder / name} is damaged: its SHA-256 is not the manifest's. {AGAIN}")
    return content


def read_file(path: Path, most: int) -> bytes:
    """Return the file's bytes, or at least one more than `most` if it has more."""
    try:
        status = path.stat()
        # A pipe would keep its reader waiting, and a device need not end.
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(f"{path} is not a regular file. {AGAIN}")
        with path.open("rb") as file:
            return file.read(min(most, status.st_size) + 1)
    except FileNotFoundError as error:
        raise BundleError(f"{path} is missing. {AGAIN}") from error
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.") from error
    except MemoryError as error:
        raise BundleError(f"{path} is larger than this machine's memory.") from error


def text_of(path: Path, content: bytes) -> str:
    """Decode the text of a file."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BundleError(f"{path} is not UTF-8 text. {AGAIN}") from error


def _validated(folder: Path, text: str) -> Manifest:
    path = folder / MANIFEST
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not valid JSON. {AGAIN}") from error
    if not isinstance(content, dict):
        raise BundleError(f"{path} is not a JSON object. {AGAIN}")
    if content.get("format") != FORMAT:
        raise BundleError(
            f"{path} has format {content.get('format')!r}; this otoscribe reads format {FORMAT}. "
            f"Install the otoscribe that the model was made with, or export the model again."
        )
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{path} is not valid at {where!r}: {first['msg'].lower()}. {AGAIN}") from error
    except UsageError as error:
        raise BundleError(f"{path} asks for an impossible search: {error}") from error
    if set(manifest.files) != set(FILES):
        odd = sorted(set(manifest.files) ^ set(FILES))[0]
        raise BundleError(f"{path} must list exactly {', '.join(FILES)}; it is wrong about {odd!r}. {AGAIN}")
    return manifest
