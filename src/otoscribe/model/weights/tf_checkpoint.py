"""The float32 variables of a TensorFlow V1 checkpoint, without TensorFlow.

Such a checkpoint is one file, a table as LevelDB writes it: blocks of sorted keys and values, an index of the
blocks, and a footer that says where the index is. The value of the empty key describes all variables
(`SavedTensorSlices.meta` of `saved_tensor_slice.proto`), every other value is a piece of one.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from otoscribe.errors import WeightsError

Array = NDArray[np.float32]

FOOTER_BYTES = 48
MAGIC = bytes.fromhex("57fb808b247547db")
"""The last bytes of a table."""
UNCOMPRESSED = 0


class Field(NamedTuple):
    """One field of a protocol buffer's message."""

    number: int
    value: int
    """Of a field that is a number."""
    content: memoryview
    """Of any other field."""


def read_checkpoint(path: Path) -> dict[str, Array]:
    """Return every float32 variable by its name, as stored.

    Raises:
        WeightsError: the file is damaged or no V1 checkpoint, or a variable is stored in several pieces.
    """
    try:
        return _variables(memoryview(path.read_bytes()))
    except (OSError, ValueError, IndexError, OverflowError) as error:
        raise WeightsError(
            f"{path} is damaged or no TensorFlow V1 checkpoint ({str(error).rstrip('.')}). Download it again."
        ) from error


def _variables(table: memoryview) -> dict[str, Array]:
    found: dict[str, Array] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for key, value in _entries(table):
        for field in _fields(value):
            if field.number == 1 and not key:
                shapes = dict(_described(field.content))
            elif field.number == 2:
                name, values = _piece(field.content)
                if values is not None:
                    found[name] = values
    if not found:
        raise ValueError("it holds no variables")
    for name, values in found.items():
        if name not in shapes or values.size != math.prod(shapes[name]):
            raise ValueError(f"{name} is not stored in one piece")
        found[name] = values.reshape(shapes[name])
    return found


def _entries(table: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield all keys and values of a table."""
    if table[-len(MAGIC) :] != MAGIC:
        raise ValueError("it does not end as a table does")
    footer = table[-FOOTER_BYTES:]
    _, at = _handle(footer, 0)
    index, _ = _handle(footer, at)
    for _, block in _block(table, index):
        handle, _ = _handle(block, 0)
        yield from _block(table, handle)


def _block(table: memoryview, handle: tuple[int, int]) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the keys and values of one block; a key shares its beginning with the one before."""
    start, size = handle
    if start + size + 1 > len(table):
        raise ValueError("a block lies past the end of the file")
    if table[start + size] != UNCOMPRESSED:
        raise ValueError("it is compressed")
    block = table[start : start + size]
    end = size - 4 - 4 * int.from_bytes(block[-4:], "little")  # where the list of whole keys begins
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        unshared, at = _varint(block, at)
        length, at = _varint(block, at)
        if shared > len(key) or at + unshared + length > end:
            raise ValueError("a key or value lies past the end of its block")
        key = key[:shared] + bytes(block[at : at + unshared])
        at += unshared
        yield key, block[at : at + length]
        at += length


def _handle(data: memoryview, at: int) -> tuple[tuple[int, int], int]:
    """Return where a block begins and its size, and where to read on."""
    start, at = _varint(data, at)
    size, at = _varint(data, at)
    return (start, size), at


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return a number of 7 bits a byte, lowest first, and where to read on."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number has no end")


def _fields(message: memoryview) -> Iterator[Field]:
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = divmod(tag, 8)
        value, length = 0, {1: 8, 5: 4}.get(kind, 0)
        if kind == 0:
            value, at = _varint(message, at)
        elif kind == 2:
            length, at = _varint(message, at)
        elif not length:
            raise ValueError(f"a field has the unknown type {kind}")
        if at + length > len(message):
            raise ValueError("a field lies past the end of its message")
        yield Field(number, value, message[at : at + length])
        at += length


def _described(meta: memoryview) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the name and shape of every variable from `SavedTensorSliceMeta`."""
    for variable in (field.content for field in _fields(meta) if field.number == 1):
        name, shape = "", tuple[int, ...]()
        for field in _fields(variable):
            if field.number == 1:
                name = str(field.content, "utf-8")
            elif field.number == 2:
                dimensions = (part.content for part in _fields(field.content) if part.number == 2)
                shape = tuple(
                    sum(size.value for size in _fields(dimension) if size.number == 1)
                    for dimension in dimensions
                )
        yield name, shape


def _piece(saved: memoryview) -> tuple[str, Array | None]:
    """Return the name and values of a `SavedSlice`; None of one that is not float32."""
    name, values = "", None
    for field in _fields(saved):
        if field.number == 1:
            name = str(field.content, "utf-8")
        elif field.number == 3:
            floats = (part.content for part in _fields(field.content) if part.number == 5)
            values = next((np.frombuffer(part, "<f4").astype(np.float32) for part in floats), None)
    return name, values
