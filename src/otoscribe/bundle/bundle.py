"""An exported model on disk: a folder that is verified when it is opened.

    manifest.json    what the model is, how it decodes, and the size and SHA-256 of the other files
    listen.onnx      waveform → keys and values of every decoder block's cross-attention
    step.onnx        one decoder step with key/value cache → log-probabilities
    vocabulary.json  the words, in the order of their ids
    card.md          data, licences, measured quality

Checksums show damage, not who made the files: open bundles only from people you trust.
"""

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

# Read when ONNX Runtime is loaded, which otherwise keeps an identity in the home folder and reports its use.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from otoscribe import files
from otoscribe.audio.reading import Waveform
from otoscribe.errors import BundleError, UsageError
from otoscribe.search.beam import Search
from otoscribe.settings import Settings
from otoscribe.text.vocabulary import Vocabulary

MANIFEST = "manifest.json"
FILES = ("card.md", "listen.onnx", "step.onnx", "vocabulary.json")
FORMAT = 1

_MANIFEST_BYTES = 1 << 20
"""A manifest has a few thousand; more is no manifest, and would be held in memory before that shows."""

THREADS = range(1, 1025)
"""What a model can be told to use; ONNX Runtime starts each of them at once."""

_LISTEN = ({"waveform": "tensor(float)"}, {"memory_keys": "tensor(float)", "memory_values": "tensor(float)"})
_STEP = (
    {
        "tokens": "tensor(int64)",
        "keys": "tensor(float)",
        "values": "tensor(float)",
        "memory_keys": "tensor(float)",
        "memory_values": "tensor(float)",
        "memory_mask": "tensor(bool)",
    },
    {"log_probabilities": "tensor(float)", "next_keys": "tensor(float)", "next_values": "tensor(float)"},
)
"""Names and types of the graphs' inputs and outputs."""

NO_MEMORY = "The model needs more memory than there is; cut the recording into parts or lower the beam."
"""What is said wherever memory runs out while a recording is heard or captions are searched."""

_AGAIN = "Copy, download or export the model again."


class Decoding(Settings):
    """How the model decodes unless asked otherwise; see `search.Search` for the meaning of each field."""

    beam: int
    length_normalisation: float
    maximum_words: int
    minimum_words: int
    no_repeat: int


class StoredFile(Settings):
    """What a file of the bundle must be."""

    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(Settings):
    """The contents of manifest.json."""

    format: Literal[1]
    name: Annotated[str, Field(min_length=1)]
    version: str
    sample_rate: Annotated[int, Field(ge=1_000, le=1_000_000)]
    """Hz; of the waveforms that listen.onnx takes."""
    minimum_seconds: Annotated[float, Field(ge=0, le=60)]
    """Shorter waveforms are extended to this by silence."""
    search: Decoding
    settings: dict[str, Any]
    """The model's resolved settings, for information."""
    files: dict[str, StoredFile]
    checksum: str
    """SHA-256 of the other fields, as `_checksum` writes them."""


@dataclass(frozen=True)
class Memory:
    """What the decoder attends to: one clip's keys and values, float32 [layers, frames, heads, head_dim]."""

    keys: NDArray[np.float32]
    values: NDArray[np.float32]

    @property
    def frames(self) -> int:
        """How many moments of the clip can be attended to."""
        return int(self.keys.shape[1])


@dataclass(frozen=True)
class Bundle:
    """A verified model, ready to run."""

    manifest: Manifest
    vocabulary: Vocabulary
    card: str
    listener: onnxruntime.InferenceSession
    stepper: onnxruntime.InferenceSession

    @classmethod
    def open(cls, path: str | bytes | os.PathLike[str], threads: int | None = None) -> "Bundle":
        """Verify and load a bundle.

        Args:
            path: the bundle's folder.
            threads: how many CPU cores to use, all that this process may use if None.

        Raises:
            BundleError: the folder is not a bundle of this format, or one of its files is missing, unknown,
                changed since the export, or does not fit the others.
            UsageError: `threads` is not in `THREADS`.
        """
        if not os.fspath(path):
            raise BundleError("An empty model name was given; name the folder of a model.")
        if threads is not None and threads not in THREADS:
            raise UsageError(f"threads must be a whole number from 1 to {THREADS[-1]}, not {threads!r}.")
        folder = Path(os.fsdecode(path))
        manifest = _read_manifest(folder)
        contents = {name: _read_verified(folder, name, manifest.files[name]) for name in FILES}
        vocabulary = Vocabulary.from_json(_text(folder / "vocabulary.json", contents["vocabulary.json"]))
        listener = _session(folder / "listen.onnx", contents["listen.onnx"], threads, _LISTEN)
        stepper = _session(folder / "step.onnx", contents["step.onnx"], threads, _STEP)
        _check_shapes(folder, stepper, vocabulary)
        return cls(manifest, vocabulary, _text(folder / "card.md", contents["card.md"]), listener, stepper)

    def listen(self, waveform: Waveform) -> Memory:
        """Encode one clip.

        Args:
            waveform: float32 [samples], mono, at `manifest.sample_rate`, in [-1, 1].

        Raises:
            BundleError: the graph does not run, as it happens when memory runs out, or gives no frames.
        """
        shortest = round(self.manifest.minimum_seconds * self.manifest.sample_rate)
        if len(waveform) < shortest:
            waveform = np.pad(waveform, (0, shortest - len(waveform)))
        keys, values = _run(self.listener, _LISTEN[1], {"waveform": waveform})
        if keys.shape != values.shape or keys.ndim != 4 or not keys.shape[1]:
            raise BundleError(f"The model's listen.onnx gave a memory of the shape {keys.shape}. {_AGAIN}")
        return Memory(keys, values)

    def step(self, inputs: Mapping[str, Any]) -> list[Any]:
        """Run the decoder for one token of every row.

        Args:
            inputs: arrays by the names of step.onnx's inputs.

        Returns:
            log_probabilities, next_keys and next_values.

        Raises:
            BundleError: the graph does not run, as it happens when memory runs out.
        """
        return _run(self.stepper, _STEP[1], inputs)


def write_manifest(
    folder: Path,
    *,
    name: str,
    version: str,
    sample_rate: int,
    minimum_seconds: float,
    search: Search,
    settings: Mapping[str, Any],
) -> Manifest:
    """Write manifest.json for the files in `folder`, which are complete by now.

    Args:
        folder: holds every file of `FILES`.
        name: the model's name.
        version: the model's version.
        sample_rate: Hz, of the waveforms that listen.onnx takes.
        minimum_seconds: what shorter waveforms are extended to.
        search: the default decoding; `candidates` is not stored.
        settings: the model's resolved settings, values that JSON can hold.

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
        "minimum_seconds": float(minimum_seconds),
        "search": {key: getattr(search, key) for key in Decoding.model_fields},
        "settings": dict(settings),
        "files": stored,
    }
    content["checksum"] = _checksum(content)
    manifest = _validated(folder, json.dumps(content))
    files.write_text(folder / MANIFEST, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return manifest


def _checksum(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the manifest's content, however it is laid out, without the checksum itself."""
    rest = {key: value for key, value in content.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _read_manifest(folder: Path) -> Manifest:
    try:
        # Hidden files are left by file managers and network file systems.
        there = {entry.name for entry in folder.iterdir() if not entry.name.startswith(".")}
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise BundleError(f"There is no model at {folder}: a model is a folder with a {MANIFEST}.") from error
    except OSError as error:
        raise BundleError(
            f"The model folder {folder} cannot be read: {(error.strerror or str(error)).lower()}."
        ) from error
    if MANIFEST not in there:
        raise BundleError(f"{folder} is not a model: it has no {MANIFEST}.")
    content = _read(folder / MANIFEST, _MANIFEST_BYTES)
    if len(content) > _MANIFEST_BYTES:
        raise BundleError(f"{folder / MANIFEST} has more than {_MANIFEST_BYTES} bytes. {_AGAIN}")
    manifest = _validated(folder, _text(folder / MANIFEST, content))
    if unknown := sorted(there - {MANIFEST, *FILES}):
        raise BundleError(
            f"{folder} holds {unknown[0]!r}, which is no part of a model; a model has exactly "
            f"{MANIFEST}, {', '.join(FILES)}. Move it elsewhere."
        )
    return manifest


def _validated(folder: Path, text: str) -> Manifest:
    path = folder / MANIFEST
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not valid JSON. {_AGAIN}") from error
    if not isinstance(content, dict):
        raise BundleError(f"{path} is not a JSON object. {_AGAIN}")
    if content.get("format") != FORMAT:
        raise BundleError(
            f"{path} has format {content.get('format')!r}; this otoscribe reads format {FORMAT}. "
            f"Install the otoscribe that the model was made with, or export the model again."
        )
    try:
        manifest = Manifest.model_validate(content)
        Search(**manifest.search.model_dump())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{path} is not valid at {where!r}: {first['msg'].lower()}. {_AGAIN}") from error
    except UsageError as error:
        raise BundleError(f"{path} asks for an impossible search: {error}") from error
    if set(manifest.files) != set(FILES):
        odd = sorted(set(manifest.files) ^ set(FILES))[0]
        raise BundleError(f"{path} must list exactly {', '.join(FILES)}; it is wrong about {odd!r}. {_AGAIN}")
    if manifest.checksum != _checksum(content):
        raise BundleError(f"{path} was changed since it was written. {_AGAIN}")
    return manifest


def _read(path: Path, most: int) -> bytes:
    """Return the file's bytes, or at least one more than `most` if it has more."""
    try:
        status = path.stat()
        # A pipe would keep its reader waiting, and a device need not end.
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(f"{path} is not a regular file. {_AGAIN}")
        with path.open("rb") as file:
            return file.read(min(most, status.st_size) + 1)
    except FileNotFoundError as error:
        raise BundleError(f"{path} is missing. {_AGAIN}") from error
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.") from error
    except MemoryError as error:
        raise BundleError(f"{path} is larger than this machine's memory.") from error


def _read_verified(folder: Path, name: str, stored: StoredFile) -> bytes:
    content = _read(folder / name, stored.bytes)
    if len(content) != stored.bytes:
        raise BundleError(
            f"{folder / name} has {(folder / name).stat().st_size} bytes, the manifest says {stored.bytes}. "
            f"{_AGAIN}"
        )
    if hashlib.sha256(content).hexdigest() != stored.sha256:
        raise BundleError(f"{folder / name} is damaged: its SHA-256 is not the manifest's. {_AGAIN}")
    return content


def _text(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BundleError(f"{path} is not UTF-8 text. {_AGAIN}") from error


def _session(
    path: Path, graph: bytes, threads: int | None, signature: tuple[dict[str, str], dict[str, str]]
) -> onnxruntime.InferenceSession:
    """Load a graph from the bytes that were verified, and check its inputs and outputs."""
    options = onnxruntime.SessionOptions()
    # An explicit number also keeps ONNX Runtime from pinning threads to cores, which containers may forbid.
    options.intra_op_num_threads = int(threads or _cores())
    options.inter_op_num_threads = 1
    # The arena keeps every block it ever had: 10 minutes of YAMNet took 1.9 GB with it, 0.8 GB without.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4  # what fails is raised
    # Threads that spin while they wait for the next run would take the cores from decoding audio.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    # ONNX Runtime's exceptions share no base class of their own.
    except Exception as error:
        raise BundleError(
            f"{path} is not a graph that ONNX Runtime can load: {_first_line(error)}"
        ) from error
    for kind, nodes, expected in (
        ("inputs", session.get_inputs(), signature[0]),
        ("outputs", session.get_outputs(), signature[1]),
    ):
        found = {node.name: node.type for node in nodes}
        if found != expected:
            raise BundleError(f"{path} has the {kind} {found}; it must have {expected}. {_AGAIN}")
    return session


def _cores() -> int:
    # Fewer than the machine's where a container or taskset allows fewer.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_shapes(folder: Path, stepper: onnxruntime.InferenceSession, vocabulary: Vocabulary) -> None:
    path = folder / "step.onnx"
    keys = next(node.shape for node in stepper.get_inputs() if node.name == "keys")
    if len(keys) != 6 or not all(isinstance(keys[axis], int) for axis in (0, 3, 5)):
        raise BundleError(
            f"{path} has keys of the shape {keys}; it must be [layers, clips, beam, heads, time, head_dim] "
            f"with fixed layers, heads and head_dim. {_AGAIN}"
        )
    width = next(node.shape for node in stepper.get_outputs() if node.name == "log_probabilities")[-1]
    if width != len(vocabulary):
        raise BundleError(
            f"{path} chooses among {width} words, but vocabulary.json has {len(vocabulary)}. {_AGAIN}"
        )


def _run(
    session: onnxruntime.InferenceSession, outputs: Iterable[str], inputs: Mapping[str, Any]
) -> list[Any]:
    try:
        results: list[Any] = session.run(list(outputs), dict(inputs))
    except Exception as error:
        # How ONNX Runtime words it depends on which part of it asked for the memory.
        if isinstance(error, MemoryError) or re.search(
            "bad_alloc|allocate memory|bad allocation", str(error)
        ):
            raise BundleError(NO_MEMORY) from error
        raise BundleError(f"The model could not be run: {_first_line(error)}") from error
    return results


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".") + "."
