"""Computed tensors on disk, one a recording: computed once, and never those of another recording or recipe.

A file's name is the hash of everything that decides its content: the recording's bytes, and a description
of what was made of them. A file also carries that description and the checksum of its values: a damaged or
misplaced one is found, reported and computed again.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from otoscribe.errors import RunError
from otoscribe.files import written_whole


class Store:
    """What one computation gives for recordings, kept in a folder that several stores may share.

    Args:
        folder: where the files go; made when the first is written.
        description: everything that decides what `compute` makes of a recording, as JSON can hold it.
        compute: makes the tensor of a recording.
    """

    def __init__(
        self, folder: Path, description: Mapping[str, Any], compute: Callable[[Path], Tensor]
    ) -> None:
        self.folder = folder
        self._description = dict(description)
        self._compute = compute

    def get(self, recording: Path, sha256: str) -> Tensor:
        """Return the tensor of a recording, from the folder or computed and stored.

        Args:
            recording: the file.
            sha256: hash of its bytes.

        Raises:
            RunError: the tensor cannot be written.
        """
        description = json.dumps({**self._description, "recording": sha256}, sort_keys=True)
        path = self._path(description)
        if path.is_file():
            try:
                return _read(path, description)
            except (SafetensorError, OSError, ValueError) as error:
                warnings.warn(f"{path} is damaged ({error}) and is computed again.", stacklevel=2)
        features = self._compute(recording)
        try:
            _write(path, features, description)
        except (OSError, SafetensorError) as error:
            raise RunError(
                f"The features of {recording} cannot be stored in {self.folder}: {error}. "
                "Free space there or choose another folder."
            ) from error
        return features

    def _path(self, description: str) -> Path:
        key = hashlib.sha256(description.encode()).hexdigest()
        return self.folder / key[:2] / f"{key}.safetensors"


def _read(path: Path, description: str) -> Tensor:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        features: Tensor = file.get_tensor("features")
    if metadata.get("description") != description:
        raise ValueError("it describes another recording or computation")
    if metadata.get("sha256") != _sha256(features):
        raise ValueError("its checksum is another")
    return features


def _write(path: Path, features: Tensor, description: str) -> None:
    metadata = {"description": description, "sha256": _sha256(features)}
    with written_whole(path) as temporary:
        save_file({"features": features.contiguous()}, temporary, metadata)


def _sha256(features: Tensor) -> str:
    return hashlib.sha256(features.contiguous().numpy().tobytes()).hexdigest()
