from pathlib import Path

import numpy as np
import pytest
import torch

from support.formula_weights import write_keras, yamnet_tensors

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "encoders"


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Give a test the same random numbers, whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "yamnet_golden.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def formula_tensors() -> dict[str, np.ndarray]:
    return yamnet_tensors()


@pytest.fixture(scope="session")
def formula_file(tmp_path_factory: pytest.TempPathFactory, formula_tensors: dict[str, np.ndarray]) -> Path:
    path = tmp_path_factory.mktemp("weights") / "formula.h5"
    write_keras(path, formula_tensors)
    return path
