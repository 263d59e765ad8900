"""The front end, its padding included, runs in ONNX Runtime as in PyTorch, for any length."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from otoscribe.model.encoders.yamnet import FRONT_END
from otoscribe.model.spectrogram import LogMelPatches


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_patches_export_for_any_length(tmp_path: Path, overlap: float) -> None:
    patches = LogMelPatches(FRONT_END, overlap).eval()
    path = tmp_path / "patches.onnx"
    lengths = {"waveforms": {1: torch.export.Dim("samples", min=1, max=2**31)}}
    torch.onnx.export(
        patches,
        (torch.zeros(1, 40000),),
        path,
        dynamic_shapes=lengths,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    for samples in (1, 240, 241, 7000, 15600, 15601, 22960, 53211, 160000):
        waveform = (0.1 * rng.standard_normal((1, samples))).astype(np.float32)
        (found,) = session.run(None, {"waveforms": waveform})
        np.testing.assert_allclose(found, patches(torch.from_numpy(waveform)).numpy(), atol=1e-4)
