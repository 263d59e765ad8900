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
    keep their size through layers of ReLU; vectors are 0.1 * z, or 1 + 0.1 * |z| if they are variances. Whole
    numbers stay as they are.
    """
    state = {}
    for name, value in module.state_dict().items():
        if not value.is_floating_point():
            state[name] = value
            continue
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
        z = np.random.default_rng(seed).standard_normal(tuple(value.shape))
        scale = math.sqrt(2.0 / math.prod(value.shape[1:])) if value.ndim > 1 else 0.1
        values = 1.0 + 0.1 * np.abs(z) if name.endswith("running_var") else z * scale
        state[name] = torch.from_numpy(values.astype(np.float32))
    return state
