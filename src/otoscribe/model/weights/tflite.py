"""The constant tensors of a TensorFlow Lite file, without TensorFlow.

Field numbers follow `tensorflow/lite/schema/schema.fbs`, version 3; only what quantised weights need is read.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from flatbuffers import encode, number_types
from flatbuffers.table import Table
from numpy.typing import NDArray

from otoscribe.errors import WeightsError

CONVOLUTION, DEPTHWISE, DENSE = 3, 4, 9
"""Builtin operators that carry weights: CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED."""

_INT8 = 9
_TENSOR_TYPES: dict[int, np.dtype[np.int32] | np.dtype[np.int8]] = {2: np.dtype("<i4"), _INT8: np.dtype("i1")}


@dataclass(frozen=True)
class QuantisedLayer:
    """One operator's weights, dequantised: kernel in the file's order, bias [channels_out]; both float64."""

    operator: int
    kernel: NDArray[np.float64]
    bias: NDArray[np.float64]


class _Reader:
    """One table of a flatbuffer; fields are asked for by their number in the schema."""

    def __init__(self, data: bytes, position: int) -> None:
        self.data = data
        self.table = Table(data, position)

    def _position(self, field: int) -> int:
        offset = self.table.Offset(4 + 2 * field)
        if not offset:
            raise ValueError(f"field {field} is absent")
        return int(offset + self.table.Pos)

    def child(self, field: int) -> "_Reader":
        return _Reader(self.data, self.table.Indirect(self._position(field)))

    def children(self, field: int) -> "list[_Reader]":
        offset = self._position(field) - self.table.Pos
        start = self.table.Vector(offset)
        length = self.table.VectorLen(offset)
        if start + 4 * length > len(self.data):
            raise ValueError(f"field {field} points past the end of the file")
        return [_Reader(self.data, self.table.Indirect(start + 4 * i)) for i in range(length)]

    def number(self, field: int, kind: type) -> int:
        offset = self.table.Offset(4 + 2 * field)
        return int(self.table.Get(kind, offset + self.table.Pos)) if offset else 0

    def array(self, field: int, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
        offset = self._position(field) - self.table.Pos
        return np.frombuffer(self.data, dtype, self.table.VectorLen(offset), self.table.Vector(offset))


def _dequantised(tensor: _Reader, buffers: list[_Reader]) -> NDArray[np.float64]:
    """Return (q - zero_point) * scale, with one scale for the tensor or one for each slice along its axis."""
    shape = [int(size) for size in tensor.array(0, np.dtype("<i4"))]
    kind = _TENSOR_TYPES[tensor.number(1, number_types.Int8Flags)]
    data = buffers[tensor.number(2, number_types.Uint32Flags)].array(0, np.dtype("u1"))
    quantised = data.view(kind).reshape(shape).astype(np.float64)
    quantisation = tensor.child(4)
    axis = quantisation.number(6, number_types.Int32Flags)
    along = [-1 if dimension == axis else 1 for dimension in range(len(shape))]
    scale = quantisation.array(2, np.dtype("<f4")).astype(np.float64)
    zero = quantisation.array(3, np.dtype("<i8")).astype(np.float64)
    if len(scale) == 1:
        along = [1] * len(shape)
    values: NDArray[np.float64] = (quantised - zero.reshape(along)) * scale.reshape(along)
    return values


def _layers(data: bytes) -> Iterator[QuantisedLayer]:
    model = _Reader(data, encode.Get(number_types.UOffsetTFlags.packer_type, data, 0))
    operators = [
        # Files older than 2020 know operators below 127 by the byte in field 0 only.
        max(code.number(0, number_types.Int8Flags), code.number(3, number_types.Int32Flags))
        for code in model.children(1)
    ]
    buffers = model.children(4)
    graph = model.children(2)[0]
    tensors = graph.children(0)
    for node in graph.children(3):
        operator = operators[node.number(0, number_types.Uint32Flags)]
        if operator not in (CONVOLUTION, DEPTHWISE, DENSE):
            continue
        _, kernel, bias = (tensors[int(i)] for i in node.array(1, np.dtype("<i4")))
        if kernel.number(1, number_types.Int8Flags) == _INT8:
            yield QuantisedLayer(operator, _dequantised(kernel, buffers), _dequantised(bias, buffers))


def quantised_layers(path: Path) -> list[QuantisedLayer]:
    """Return every layer with int8 weights, in the order in which the graph runs them.

    Raises:
        WeightsError: the file is damaged or no TensorFlow Lite file of 8-bit weights.
    """
    data = path.read_bytes()
    try:
        return list(_layers(data))
    except (struct.error, ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise WeightsError(
            f"{path} is damaged or no TensorFlow Lite file with 8-bit weights ({error}). Download it again."
        ) from error
