"""Matrices of a graph in as few bits as hold them exactly: 8, 16 or 32."""

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

EXACT = 4e-7
"""Relative difference that two ways of rounding to float32 may make."""


def round_to_16_bits(model: nn.Module) -> None:
    """Round every matrix to float16, in place, unless 8 bits hold it exactly."""
    # Rounded before the graphs are made, so that storing 16 bits loses nothing and torch can be compared.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1 and _in_8_bits(parameter.numpy()) is None:
                parameter.copy_(parameter.half().float())


def store_in_few_bits(model: onnx.ModelProto) -> None:
    """Store every matrix that 8 or 16 bits hold exactly in that many bits; a loaded graph has float32.

    So matrices that were rounded before take half the bytes, those of an 8-bit network a quarter, and nothing
    else changes. (Plain casts and products: ONNX Runtime folds them while loading, unlike DequantizeLinear.)
    """
    graph = model.graph
    nodes = []
    for initializer in list(graph.initializer):
        values = numpy_helper.to_array(initializer)
        if values.dtype != np.float32 or values.ndim < 2:
            continue
        name = initializer.name
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if (eighth := _in_8_bits(values)) is not None:
            codes, scale = eighth
            initializer.CopyFrom(numpy_helper.from_array(codes, f"{name}.int8"))
            graph.initializer.append(numpy_helper.from_array(scale, f"{name}.scale"))
            nodes.append(helper.make_node("Cast", [f"{name}.int8"], [f"{name}.codes"], to=TensorProto.FLOAT))
            nodes.append(helper.make_node("Mul", [f"{name}.codes", f"{name}.scale"], [name]))
        elif np.array_equal(half.astype(np.float32), values):
            initializer.CopyFrom(numpy_helper.from_array(half, f"{name}.float16"))
            nodes.append(helper.make_node("Cast", [f"{name}.float16"], [name], to=TensorProto.FLOAT))
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)


def _in_8_bits(values: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]] | None:
    """Write values as int8 codes times a scale per channel, first or last axis, or one scale for all.

    Returns:
        Codes of the values' shape, and scales that broadcast to it; None if that would change a value by more
        than float32's own rounding, or take no less room than 16 bits.
    """
    everything = tuple(range(values.ndim))
    for kept in (0, values.ndim - 1, None):
        others = tuple(axis for axis in everything if axis != kept)
        scale = np.abs(values).max(axis=others, keepdims=True) / np.float32(127.0)
        codes = np.rint(values / np.where(scale > 0.0, scale, 1.0)).astype(np.int8)
        # Anything is exact with a scale for every value.
        smaller = codes.nbytes + scale.nbytes < values.nbytes // 2
        if smaller and np.allclose(codes * scale, values, rtol=EXACT, atol=0.0):
            return codes, scale
    return None
