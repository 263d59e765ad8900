"""Weights by a formula: the same for everybody, for tests of networks whose real weights cannot be had."""

import hashlib
import math

import numpy as np
import torch
from torch import Tensor, nn


def formula_state(module: nn.Module) -> dict[str, Tensor]:
    """Return a state for a module, decided by the names and shapes of its tensors alone.

    Of a tensor named N, z are standard normal numbers of NumPy's default generator, seeded with the first 8
    bytes of SHA-256(N), little-endian. Matrices and kernels are z * sqrt(2 / fan_in), so that activations
    keep their size through layers of ReLU; vectors are 0.1 * z.
    """
    state = {}
    for name, value in module.state_dict().items():
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
        z = np.random.default_rng(seed).standard_normal(tuple(value.shape))
        scale = math.sqrt(2.0 / math.prod(value.shape[1:])) if value.ndim > 1 else 0.1
        state[name] = torch.from_numpy((z * scale).astype(np.float32))
    return state
