"""Weights as Keras writes them into HDF5 files: every tensor by its path, or layer by layer in order."""

import gzip
import io
import zlib
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from otoscribe.errors import WeightsError

Array = NDArray[np.float64]

HDF5 = b"\x89HDF\r\n\x1a\n"
GZIP = b"\x1f\x8b"
"""How files begin."""
LARGEST = 1 << 28
"""Bytes beyond which no packed file is unpacked; those of the encoders here are a tenth."""


def read_tensors(path: Path) -> dict[str, Array]:
    """Return every tensor of an HDF5 file by its path in it.

    Raises:
        WeightsError: the file is damaged.
    """
    found: dict[str, Array] = {}

    def collect(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = np.asarray(item, dtype=np.float64)

    try:
        with h5py.File(path, "r") as file:
            file.visititems(collect)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise WeightsError(f"{path} is a damaged HDF5 file ({error}). Download it again.") from error
    return found


def read_layers(path: Path) -> list[tuple[str, list[Array]]]:
    """Return the name and tensors of every layer that has any, in the order in which Keras made them.

    Args:
        path: an HDF5 file, packed by gzip or not; told apart by content.

    Raises:
        WeightsError: the file is damaged, or Keras did not write it.
    """
    try:
        with h5py.File(io.BytesIO(_unpacked(path)), "r") as file:
            layers = []
            for layer in file.attrs["layer_names"]:
                group = file[layer]
                tensors = [np.asarray(group[name], np.float64) for name in group.attrs["weight_names"]]
                if tensors:
                    layers.append((str(layer, "utf-8") if isinstance(layer, bytes) else str(layer), tensors))
            return layers
    except (OSError, EOFError, ValueError, RuntimeError, KeyError, TypeError, zlib.error) as error:
        raise WeightsError(
            f"{path} is damaged or no HDF5 file of Keras's ({error}). Download it again."
        ) from error


def _unpacked(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(len(GZIP))
        file.seek(0)
        if head != GZIP:
            return file.read()
        with gzip.open(file) as packed:
            content = packed.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError("unpacked, it is far too large")
    return content
