"""Weights in PyTorch's own files, read as tensors only: nothing in such a file is ever run."""

import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from otoscribe.errors import WeightsError

State = dict[str, Tensor]


def read_torch(path: Path, also: Iterable[tuple[Any, str]] = ()) -> Any:
    """Return what a file holds: tensors, plain numbers and texts, and collections of these.

    Args:
        path: written by `torch.save`, as a zip archive or in the form from before PyTorch 1.6.
        also: other objects that the file may name, each with the name that it has in the file.

    Raises:
        WeightsError: the file is damaged, or holds anything else.
    """
    try:
        with torch.serialization.safe_globals(list(also)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        AssertionError,
        OverflowError,
        MemoryError,
    ) as error:
        reason = (str(error) or type(error).__name__).split(". ")[0].splitlines()[0].rstrip(".")
        raise WeightsError(
            f"{path} is damaged or no PyTorch file of weights alone ({reason}). Download it again."
        ) from error


def take(state: State, name: str, shape: tuple[int, ...], path: Path) -> Tensor:
    """Remove a tensor from a state and return it, as float32.

    Args:
        state: as a file holds it.
        name: of the tensor.
        shape: that it must have.
        path: the file, for errors.

    Raises:
        WeightsError: it is absent, of another shape, or holds anything but finite numbers.
    """
    value = state.pop(name, None)
    if not isinstance(value, Tensor) or tuple(value.shape) != shape:
        found = f"has shape {tuple(value.shape)}" if isinstance(value, Tensor) else "is absent"
        raise WeightsError(f"{path} holds another network: {name} {found}, expected shape {shape}.")
    if not value.isfinite().all():
        raise WeightsError(f"{path} holds weights that are not finite numbers in {name}. Download it again.")
    return value.detach().float()


def folded(
    state: State, convolution: str, normalisation: str, like: nn.Conv2d, path: Path, epsilon: float = 1e-5
) -> tuple[Tensor, Tensor]:
    """Take a convolution and the batch normalisation after it out of a state, as one convolution.

    Args:
        state: as a file holds it.
        convolution: name of the convolution, with a bias or without.
        normalisation: name of the batch normalisation.
        like: has the shapes.
        path: the file, for errors.
        epsilon: what batch normalisation adds to the variance.

    Returns:
        Kernel and bias.

    Raises:
        WeightsError: as for `take`.
    """
    channels = (like.out_channels,)
    kernel = take(state, f"{convolution}.weight", tuple(like.weight.shape), path).double()
    bias = torch.zeros(channels, dtype=torch.float64)
    if f"{convolution}.bias" in state:
        bias = take(state, f"{convolution}.bias", channels, path).double()
    gamma, beta, mean, variance = (
        take(state, f"{normalisation}.{part}", channels, path).double()
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    state.pop(f"{normalisation}.num_batches_tracked", None)
    scale = gamma / torch.sqrt(variance + epsilon)
    return (kernel * scale[:, None, None, None]).float(), (beta + (bias - mean) * scale).float()
