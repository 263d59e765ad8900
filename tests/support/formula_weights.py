"""Weights of YAMNet made by a formula, in the layout of the published Keras file.

The official weights cannot live in this repository; these have every one of its tensors, and the golden
values in `encoders/` were made with them. For a tensor named N: seed = first 8 bytes of sha256(N),
little-endian; z = standard normal numbers of numpy's default generator with that seed, float64, in C order;
the value, cast to float32, is

    kernel            z * sqrt(2 / fan_in)     fan_in of a depthwise kernel: height * width
    beta, mean, bias  0.1 * z
    variance          1 + 0.1 * |z|
"""

import hashlib
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np

CHANNELS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)

SHA256 = "fe052d1c8ea7d24319b956066f52e2ebd5b6024392562b157cc06b8e11ca3849"
"""Of all tensors' little-endian float32 bytes, one after the other, in the order of `yamnet_tensors`."""


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the float32 value of the tensor called `name`."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    z = np.random.default_rng(seed).standard_normal(shape)
    kind = name.rsplit("/", 1)[1]
    if kind == "depthwise_kernel:0":
        value = z * np.sqrt(2 / np.prod(shape[:2]))
    elif kind == "kernel:0":
        value = z * np.sqrt(2 / np.prod(shape[:-1]))
    elif kind == "moving_variance:0":
        value = 1 + 0.1 * np.abs(z)
    else:
        value = 0.1 * z
    return value.astype("<f4")


def yamnet_tensors() -> dict[str, np.ndarray]:
    """Return all 110 tensors by their official name, in network order."""
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(layer: str, kind: str, shape: tuple[int, ...], channels: int) -> None:
        shapes[f"{layer}/{kind}:0"] = shape
        for name in ("beta", "moving_mean", "moving_variance"):
            shapes[f"{layer}/bn/{name}:0"] = (channels,)

    convolution("layer1/conv", "kernel", (3, 3, 1, 32), 32)
    for i, (before, after) in enumerate(pairwise(CHANNELS)):
        convolution(f"layer{i + 2}/depthwise_conv", "depthwise_kernel", (3, 3, before, 1), before)
        convolution(f"layer{i + 2}/pointwise_conv", "kernel", (1, 1, before, after), after)
    shapes["logits/kernel:0"] = (1024, 521)
    shapes["logits/bias:0"] = (521,)
    return {name: tensor(name, shape) for name, shape in shapes.items()}


def write_keras(path: Path, tensors: dict[str, np.ndarray], last_layer: str = "logits") -> None:
    """Write tensors as Keras does: group = layer name, dataset = weight name, which repeats the layer's."""
    with h5py.File(path, "w") as file:
        for name, value in tensors.items():
            layer, kind = name.rsplit("/", 1)
            layer = last_layer if layer == "logits" else layer
            file[f"{layer}/{layer}/{kind}"] = value
