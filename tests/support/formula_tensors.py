"""Weights made by a formula, under the names and in the shapes of official files: see `golden/encoders`.

For a tensor named N: z = standard normal numbers of numpy's default generator, seeded with the first 8 bytes
of sha256(N), little-endian, in float64 and C order; the value, cast to float32, is

    kernel            z * sqrt(2 / fan_in)
    gamma             1 + 0.1 * z
    variance          1 + 0.1 * |z|
    everything else   0.1 * z; counts are 0
"""

import hashlib
import json
import math
from functools import cache
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "encoders"

Tensors = dict[str, np.ndarray]


@cache
def listed(encoder: str) -> list[dict[str, object]]:
    """Return name, shape, kind and checksum of every tensor of an encoder's official file."""
    return json.loads((GOLDEN / "tensors.json").read_text(encoding="utf-8"))[encoder]


def golden_of(encoder: str) -> Tensors:
    """Return what the published code of an encoder gave with these weights."""
    with np.load(GOLDEN / f"{encoder}_golden.npz") as arrays:
        return dict(arrays)


@cache
def tensors_of(encoder: str) -> Tensors:
    """Return every tensor of an encoder's official file; kept, as large ones take seconds to make."""
    found = {}
    for entry in listed(encoder):
        name, shape, kind = str(entry["name"]), tuple(entry["shape"]), entry["kind"]
        if kind == "count":
            found[name] = np.zeros(shape, np.int64)
            continue
        z = np.random.default_rng(seed_of(name)).standard_normal(shape)
        if kind == "kernel":
            # TensorFlow puts the channels out last, PyTorch first.
            fan_in = math.prod(shape[1:] if encoder == "coala" else shape[:-1])
            z *= np.sqrt(2 / fan_in)
        elif kind == "gamma":
            z = 1 + 0.1 * z
        elif kind == "var":
            z = 1 + 0.1 * np.abs(z)
        else:
            z *= 0.1
        found[name] = z.astype("<f4")
    return found


def seed_of(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def assert_they_are_the_official_ones(encoder: str) -> None:
    """Compare every tensor with the checksum that is written beside the golden values."""
    found = tensors_of(encoder)
    for entry in listed(encoder):
        if entry["sha256"]:
            assert hashlib.sha256(found[str(entry["name"])].tobytes()).hexdigest() == entry["sha256"], entry


def largest_error(value: object, expected: np.ndarray) -> float:
    """Return the largest absolute difference of a tensor from an array of the same shape."""
    assert value.shape == expected.shape, (value.shape, expected.shape)
    return float(np.abs(value.detach().numpy() - expected).max())


SECONDS = {"a": 3.3, "b": 0.4, "c": 2.5, "d": 11.0}


def wave(name: str, rate: int) -> np.ndarray:
    """Return one of the waveforms behind the golden values: a sweep with bursts, a tone, or faint noise."""
    samples = round(SECONDS[name] * rate)
    t = np.arange(samples) / rate
    if name == "b":
        return (0.3 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
    if name == "c":
        return (1e-5 * np.random.default_rng(7).standard_normal(samples)).astype(np.float32)
    noise = np.random.default_rng(20240607).standard_normal(samples)
    sweep = np.sin(2 * np.pi * (100 * t + (0.4 * rate - 100) * t * t / (2 * SECONDS[name])))
    bursts = np.where((4 * t) % 1 < 0.3, noise, 0.0)
    return (0.5 * sweep + 0.1 * bursts + 0.003 * noise).astype(np.float32)
