"""Front ends, with their padding, and whole encoders run in ONNX Runtime as in PyTorch, for any length."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from otoscribe.model.adapters.base import ADAPTERS
from otoscribe.model.caption_model import CaptionModel, ModelSettings
from otoscribe.model.decoder import DecoderSettings
from otoscribe.model.encoders import vggish, yamnet
from otoscribe.model.encoders.base import ENCODERS, Encoder, load_encoder
from otoscribe.model.encoders.huggingface import HuggingfaceSettings
from otoscribe.model.spectrogram import FrontEnd, LogMelPatches
from otoscribe.model.words.base import WORDS
from otoscribe.text.vocabulary import Vocabulary
from otoscribe.train.export import Adapt, Encode, _adapter_graph, _encoder_graph
from support.encoders import random_encoder
from support.tiny_transformers import KINDS, tiny_model


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("front_end", "overlap"),
    [(yamnet.FRONT_END, 0.5), (vggish.FRONT_END, 0.0)],
    ids=["filled up", "whole only"],
)
def test_patches_export_for_any_length(tmp_path: Path, front_end: FrontEnd, overlap: float) -> None:
    patches = LogMelPatches(front_end, overlap).eval()
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


@pytest.mark.slow
@pytest.mark.parametrize("name", list(ENCODERS))
def test_an_encoder_exports_for_any_number_of_clips_and_samples(name: str, tmp_path: Path) -> None:
    require_a_graph_that_equals(random_encoder(name, 0.5), tmp_path)


@pytest.mark.slow
# wav2vec 2.0 is tested above, and CLAP is the fused one without its second view.
@pytest.mark.parametrize("kind", sorted({*KINDS} - {"wav2vec2", "clap"}))
def test_other_models_of_transformers_export(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="Models of transformers' need transformers.")
    settings = HuggingfaceSettings(model=tiny_model(kind), overlap=0.5)
    require_a_graph_that_equals(load_encoder(settings), tmp_path)


def require_a_graph_that_equals(encoder: Encoder, folder: Path) -> None:
    """Export an encoder and compare what ONNX Runtime gives for several numbers of clips and samples."""
    onnx.save(_encoder_graph(encoder), folder / "encoder.onnx")
    first = onnxruntime.InferenceSession(folder / "encoder.onnx", providers=["CPUExecutionProvider"])
    finishes = type(encoder).finish is not Encoder.finish  # or the adapter's graph holds nothing of it
    model, second = finished(encoder, folder) if finishes else (None, None)
    rng = np.random.default_rng(0)
    for clips, seconds in ((1, 0.05), (2, 1.3), (1, 5.2)):
        samples = int(seconds * encoder.spec.sample_rate)
        waveforms = (0.1 * rng.standard_normal((clips, samples))).astype(np.float32)
        with torch.inference_mode():
            expected = Encode(encoder)(torch.from_numpy(waveforms))
            if model is not None:
                expected += Adapt(encoder, model)(*expected)
        found = first.run(None, {"waveforms": waveforms})
        if second is not None:
            found += second.run(None, {"features": found[0]})
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert one.shape == other.shape
            scale = float(other.abs().max()) if other.is_floating_point() else 0.0
            np.testing.assert_allclose(one, other.numpy(), rtol=0, atol=1e-4 * scale)


def finished(encoder: Encoder, folder: Path) -> tuple[CaptionModel, onnxruntime.InferenceSession]:
    """Return a model for an encoder, and the graph of its adapter, which finishes what the encoder began."""
    settings = ModelSettings(
        encoder=encoder.settings,
        adapter=ADAPTERS["identity"].Settings(name="identity"),
        words=WORDS["random"].Settings(name="random", width=8),
        decoder=DecoderSettings(d_model=16, heads=2, head_dim=8, blocks=1),
    )
    model = CaptionModel(settings, Vocabulary.from_captions(["a dog barks"])).eval()
    onnx.save(_adapter_graph(encoder, model), folder / "adapter.onnx")
    return model, onnxruntime.InferenceSession(folder / "adapter.onnx", providers=["CPUExecutionProvider"])
