"""YAMNet's weights from the files in which they exist: Keras HDF5 (`yamnet.h5`) and 8-bit TensorFlow Lite.

Both become one state dict of `Yamnet`, with batch normalisation folded into the convolutions.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from otoscribe.errors import WeightsError
from otoscribe.model.weights.keras_h5 import HDF5, Array, read_tensors
from otoscribe.model.weights.tflite import CONVOLUTION, DENSE, DEPTHWISE, quantised_layers

EPSILON = 1e-4
"""Added to the variance by YAMNet's batch normalisation (`params.py`), which has no scale of its own."""

EMBEDDING, CLASSES = 1024, 521
CHANNELS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, EMBEDDING)
"""Output channels of the first convolution and of the separable ones (layers 2 to 14)."""

SEPARABLE_LAYERS = len(CHANNELS) - 1

Layer = tuple[Array, Array]
"""Kernel and bias as PyTorch orders them."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the state dict of `Yamnet` from `path`.

    Args:
        path: the published `yamnet.h5`, any weights in its layout (last layer `logits` or `dense`), or the
            8-bit `yamnet.tflite`; told apart by content.

    Raises:
        WeightsError: the file is damaged or holds another network.
    """
    with path.open("rb") as file:
        head = file.read(len(HDF5))
    if head == HDF5:
        layers = _from_keras(path)
    elif head[4:] == b"TFL3":
        layers = _from_tflite(path)
    else:
        raise WeightsError(
            f"{path} is neither a Keras HDF5 file nor a TensorFlow Lite file. "
            "YAMNet loads from yamnet.h5 or yamnet.tflite."
        )
    return _state(path, layers)


def _state(path: Path, layers: list[Layer]) -> dict[str, Tensor]:
    names = ["trunk.first.convolution"]
    for i in range(SEPARABLE_LAYERS):
        names += [f"trunk.depthwise.{i}.convolution", f"trunk.pointwise.{i}"]
    names.append("classifier")
    state: dict[str, Tensor] = {}
    for name, (kernel, bias) in zip(names, layers, strict=True):
        if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
            raise WeightsError(
                f"{path} holds weights that are not finite numbers in {name}. Download it again."
            )
        state[f"{name}.weight"] = torch.from_numpy(kernel.astype(np.float32))
        state[f"{name}.bias"] = torch.from_numpy(bias.astype(np.float32))
    return state


def _from_keras(path: Path) -> list[Layer]:
    """Read `layerN/...` groups: convolutions without bias, then batch normalisation without scale."""
    found = read_tensors(path)

    def take(layer: str, weight: str, shape: tuple[int, ...]) -> Array:
        value = found.pop(f"{layer}/{layer}/{weight}:0", None)
        if value is None or value.shape != shape:
            is_there = "is absent" if value is None else f"has shape {value.shape}"
            raise WeightsError(
                f"{path} is no YAMNet: {layer}/{layer}/{weight}:0 {is_there}, expected shape {shape}."
            )
        return value

    def convolution(layer: str, weight: str, shape: tuple[int, int, int, int], channels: int) -> Layer:
        kernel = take(layer, weight, shape)
        beta, mean, variance = (
            take(f"{layer}/bn", name, (channels,)) for name in ("beta", "moving_mean", "moving_variance")
        )
        # Keras orders height, width, in, out; a depthwise kernel height, width, channels, 1.
        order = (2, 3, 0, 1) if weight == "depthwise_kernel" else (3, 2, 0, 1)
        scale = 1.0 / np.sqrt(variance + EPSILON)
        return kernel.transpose(order) * scale[:, None, None, None], beta - mean * scale

    layers = [convolution("layer1/conv", "kernel", (3, 3, 1, CHANNELS[0]), CHANNELS[0])]
    for i in range(SEPARABLE_LAYERS):
        before, after = CHANNELS[i], CHANNELS[i + 1]
        name = f"layer{i + 2}"
        layers += [
            convolution(f"{name}/depthwise_conv", "depthwise_kernel", (3, 3, before, 1), before),
            convolution(f"{name}/pointwise_conv", "kernel", (1, 1, before, after), after),
        ]
    last = "logits" if "logits/logits/kernel:0" in found else "dense"
    layers.append((take(last, "kernel", (EMBEDDING, CLASSES)).T, take(last, "bias", (CLASSES,))))
    if found:
        raise WeightsError(f"{path} is no YAMNet: it also holds {sorted(found)[0]}.")
    return layers


def _from_tflite(path: Path) -> list[Layer]:
    """Read 27 convolutions, batch normalisation already folded in, and the classifier."""
    expected: list[tuple[int, tuple[int, ...]]] = [(CONVOLUTION, (CHANNELS[0], 3, 3, 1))]
    for i in range(SEPARABLE_LAYERS):
        expected += [
            (DEPTHWISE, (1, 3, 3, CHANNELS[i])),
            (CONVOLUTION, (CHANNELS[i + 1], 1, 1, CHANNELS[i])),
        ]
    expected.append((DENSE, (CLASSES, EMBEDDING)))
    quantised = quantised_layers(path)
    if [(layer.operator, layer.kernel.shape) for layer in quantised] != expected:
        raise WeightsError(f"{path} is a TensorFlow Lite file, but its layers are not YAMNet's.")
    layers: list[Layer] = []
    for layer in quantised:
        kernel = layer.kernel
        if layer.operator == DEPTHWISE:
            kernel = kernel.transpose(3, 0, 1, 2)
        elif layer.operator == CONVOLUTION:
            kernel = kernel.transpose(0, 3, 1, 2)
        if layer.bias.shape != (len(kernel),):
            raise WeightsError(f"{path} is a TensorFlow Lite file, but its biases are not YAMNet's.")
        layers.append((kernel, layer.bias))
    return layers
