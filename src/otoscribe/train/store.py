"""Encoder outputs on disk: computed once per recording, and never those of another recording or encoder.

A file's name is the hash of everything that decides its content: the recording's bytes, the encoder, its
weights, front end and overlap, the output, and the version of reading and encoding. A file also carries that
description and the checksum of its values: a damaged or misplaced one is found, told and computed again.
"""

import hashlib
import json
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from otoscribe.audio import reading
from otoscribe.errors import RunError, unknown_name
from otoscribe.files import sha256, written_whole
from otoscribe.model.encoders.base import Encoder, described

READING = 1
"""Raised whenever reading gives another waveform for the same file; nothing stored before is reused."""


def _bytes(value: Tensor) -> bytes:
    return value.detach().cpu().contiguous().numpy().tobytes()


class Store:
    """One output of one encoder for recordings, kept in a folder that several stores may share.

    Weights that change after the store was made are not seen: make a store for each state of an encoder.

    Args:
        folder: where the files go; made when the first is written.
        encoder: the frozen encoder.
        output: which of `encoder.spec.outputs`.

    Raises:
        UsageError: the encoder has no such output.
    """

    def __init__(self, folder: Path, encoder: Encoder, output: str) -> None:
        spec = encoder.spec
        if output not in spec.outputs:
            raise unknown_name(f"output of {spec.name}", output, spec.outputs)
        self.folder = folder
        self.encoder = encoder
        self.output = output
        self._what = {
            **described(encoder),
            "output": output,
            "reading": READING,
        }

    def __getitem__(self, recording: Path) -> Tensor:
        """Return the output for a recording, float32 [frames, width], from the folder or computed and stored.

        Raises:
            AudioError: the recording cannot be read.
            RunError: the output cannot be written.
        """
        if not recording.is_file():
            # Says in a sentence what is wrong, where hashing would not.
            reading.load(recording, self.encoder.spec.sample_rate)
        description = json.dumps({**self._what, "recording": sha256(recording)}, sort_keys=True)
        path = self._path(description)
        if path.is_file():
            try:
                return self._read(path, description)
            except (SafetensorError, OSError, ValueError) as error:
                warnings.warn(f"{path} is damaged ({error}) and is computed again.", stacklevel=2)
        features = self._encode(recording)
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

    def _encode(self, recording: Path) -> Tensor:
        waveform = reading.load(recording, self.encoder.spec.sample_rate).waveform
        device = next(self.encoder.parameters()).device
        with torch.no_grad():
            outputs = self.encoder(torch.from_numpy(waveform)[None].to(device))
        features: Tensor = outputs[self.output][0].cpu()
        return features

    def _read(self, path: Path, description: str) -> Tensor:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            features: Tensor = file.get_tensor("features")
        if metadata.get("description") != description:
            raise ValueError("it describes another recording or encoder")
        if metadata.get("sha256") != hashlib.sha256(_bytes(features)).hexdigest():
            raise ValueError("its checksum is another")
        return features


def _write(path: Path, features: Tensor, description: str) -> None:
    metadata = {"description": description, "sha256": hashlib.sha256(_bytes(features)).hexdigest()}
    with written_whole(path) as temporary:
        save_file({"features": features.contiguous()}, temporary, metadata)
