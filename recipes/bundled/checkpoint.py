"""Checkpoints of the recipe's training loops: a killed stage goes on where it last wrote one."""

from pathlib import Path

import torch
from torch import nn

from otoscribe.learn.run import load_tensors, save_tensors


def save(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    """Write weights, optimiser and the number of steps done."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": value for name, value in state.items()}
    save_tensors(path, tensors, {"step": step})


def resume(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    """Restore what `save` wrote, if it is there, and return the number of steps done.

    Raises:
        RunError: the file is damaged.
    """
    if not path.is_file():
        return 0
    tensors, notes = load_tensors(path)
    model.load_state_dict(
        {name[len("model.") :]: value for name, value in tensors.items() if name.startswith("model.")}
    )
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimiser."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return int(notes["step"])
