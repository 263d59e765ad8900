"""HDF5 files as Keras's `save_weights` writes them."""

from pathlib import Path

import h5py
import numpy as np

from support.formula_tensors import Tensors


def write_layers(path: Path, tensors: Tensors) -> None:
    """Write tensors named LAYER/WEIGHT:0, with the attributes that give their order."""
    layers: dict[str, list[str]] = {"input_1": []}  # a layer without weights
    for name in tensors:
        layers.setdefault(name.split("/")[0], []).append(name)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([layer.encode() for layer in layers])
        for layer, names in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = np.array([name.encode() for name in names], dtype="S")
            for name in names:
                group[name] = tensors[name]
