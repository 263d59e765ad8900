"""TensorFlow V1 checkpoints as TensorFlow writes them, see `model.weights.tf_checkpoint`."""

from pathlib import Path

import numpy as np

from support.formula_tensors import Tensors

MAGIC = bytes.fromhex("57fb808b247547db")


def write_checkpoint(path: Path, tensors: Tensors, compression: int = 0, pieces: int = 1) -> None:
    """Write float32 variables, each as `pieces` pieces in a block of its own."""
    described = b"".join(
        _message(1, _message(1, name.encode()) + _message(2, _shape(value.shape)) + b"\x18\x01")
        for name, value in sorted(tensors.items())
    )
    entries = [(b"", _message(1, described))]
    for name, value in sorted(tensors.items()):
        for number, part in enumerate(np.array_split(value.astype("<f4").ravel(), pieces)):
            saved = _message(1, name.encode()) + _message(3, _message(5, part.tobytes()))
            entries.append((b"\0" + name.encode() + b"\0\1" + bytes([number]), _message(2, saved)))
    handles, at = [], 0
    with path.open("wb") as file:

        def write(block: bytes) -> bytes:
            nonlocal at
            file.write(block + bytes([compression]) + b"crc!")
            handle = _varint(at) + _varint(len(block))
            at += len(block) + 5
            return handle

        handles = [(key, write(_block([(key, value)]))) for key, value in entries]
        index = write(_block(handles))
        meta = write(_block([]))
        file.write((meta + index).ljust(40, b"\0") + MAGIC)


def _block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Write keys that leave out what they share with the key before."""
    parts, before = [], b""
    for key, value in entries:
        shared = 0
        while shared < min(len(key), len(before)) and key[shared] == before[shared]:
            shared += 1
        parts += [_varint(shared), _varint(len(key) - shared), _varint(len(value)), key[shared:], value]
        before = key
    restarts = np.array([0, 1], "<u4").tobytes()
    return b"".join(parts) + restarts


def _shape(shape: tuple[int, ...]) -> bytes:
    return b"".join(_message(2, b"\x08" + _varint(size)) for size in shape)


def _message(field: int, content: bytes) -> bytes:
    return bytes([8 * field + 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
