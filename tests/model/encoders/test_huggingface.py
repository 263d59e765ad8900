"""Models of transformers': tiny ones with random weights, made here."""

import logging
import shutil
from pathlib import Path

import pytest
import torch

from otoscribe.errors import UsageError, WeightsError
from otoscribe.model.encoders.base import load_encoder, weights_of
from otoscribe.model.encoders.huggingface import Huggingface, HuggingfaceSettings
from otoscribe.model.feature_extractors import OwnExtractor
from support.tiny_transformers import KINDS, WIDTH, tiny_model

transformers = pytest.importorskip("transformers", reason="Models of transformers' need transformers.")


def load(kind: str, **chosen: object) -> Huggingface:
    encoder = load_encoder(HuggingfaceSettings(model=tiny_model(kind), **chosen))
    assert isinstance(encoder, Huggingface)
    return encoder


def noise(encoder: Huggingface, seconds: float, clips: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(clips, int(seconds * encoder.spec.sample_rate), generator=generator)


@pytest.mark.parametrize("kind", KINDS)
def test_width_and_rate_are_the_models_own(kind: str) -> None:
    encoder = load(kind)
    rates = {"wav2vec2": 8000, "whisper": 16000, "ast": 16000, "clap": 48000, "clap_fused": 48000}
    assert encoder.spec.outputs == {"embeddings": WIDTH}
    assert encoder.spec.sample_rate == rates[kind]
    found = encoder(noise(encoder, 2.5, clips=2))["embeddings"]
    assert found.shape == (2, 3, WIDTH)
    assert encoder.times(int(2.5 * rates[kind])) == [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_embedding_is_the_mean_of_what_transformers_gives_for_its_window(kind: str) -> None:
    encoder, folder = load(kind, overlap=0.5, seconds=1.0), tiny_model(kind)
    rate = encoder.spec.sample_rate
    clip = noise(encoder, 2.0)
    network = transformers.AutoModel.from_pretrained(folder).eval()
    network = network.get_encoder() if kind == "whisper" else getattr(network, "audio_model", network)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    found = encoder(clip)["embeddings"][0]
    assert len(found) == 3
    for number, embedding in enumerate(found):
        start = number * rate // 2
        window = clip[0, start : start + rate].numpy()
        inputs = extractor(window, sampling_rate=rate, return_tensors="pt")
        if "is_longer" in inputs:  # which transformers draws, as no window is
            inputs["is_longer"] = torch.zeros(1, 1, dtype=torch.bool)
        with torch.no_grad():
            hidden = network(**inputs).last_hidden_state[0]
        if kind.startswith("clap"):
            hidden = hidden.flatten(1).T
        elif kind == "whisper":  # half of the 2 s are what fills them up
            hidden = hidden[:50]
        torch.testing.assert_close(embedding, hidden.mean(dim=0), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tuned_model_gets_gradients(kind: str) -> None:
    encoder = load(kind, tuned=True)
    encoder(noise(encoder, 1.0))["embeddings"].sin().sum().backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in encoder.network.parameters())


def test_its_weights_are_the_files(tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model("wav2vec2"), tmp_path / "copy")
    encoder = load("wav2vec2")
    same = load_encoder(HuggingfaceSettings(model=str(folder)))
    assert weights_of(same) == weights_of(encoder)
    network = transformers.AutoModel.from_pretrained(folder)
    with torch.no_grad():
        next(network.parameters()).add_(1.0)
    network.save_pretrained(folder)
    assert weights_of(load_encoder(HuggingfaceSettings(model=str(folder)))) != weights_of(encoder)


def test_no_pickle_is_read(tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model("wav2vec2"), tmp_path / "copy")
    (folder / "model.safetensors").unlink()
    torch.save(load("wav2vec2").network.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(
        WeightsError, match=r"copy is no audio model that transformers can load.*safetensors\.$"
    ):
        load_encoder(HuggingfaceSettings(model=str(folder)))


def test_a_model_without_all_its_weights_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny_model("wav2vec2"), tmp_path / "copy")
    state = load_file(folder / "model.safetensors")
    del state["encoder.layers.0.attention.k_proj.weight"]
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match=r"lacks weights of its network: encoder\.layers\.0\.attention"):
        load_encoder(HuggingfaceSettings(model=str(folder)))


def test_what_is_no_model_is_refused_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTOSCRIBE_OFFLINE", "1")
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    for model in (str(tmp_path), "nobody/nothing"):
        with pytest.raises(WeightsError, match="is no audio model that transformers can load"):
            load_encoder(HuggingfaceSettings(model=model))


@pytest.mark.parametrize("kind", ["whisper", "ast", "clap"])
def test_windows_longer_than_a_model_hears_are_refused(kind: str) -> None:
    with pytest.raises(UsageError, match=r"hears 2(\.08)? s at most\. Set seconds"):
        load(kind, seconds=2.5)


def test_windows_shorter_than_a_frame_are_refused() -> None:
    with pytest.raises(UsageError, match=r"hears 0\.025 s at least\. Set seconds"):
        load("ast", seconds=0.02)
    assert load("ast", seconds=0.025)(torch.zeros(1, 800))["embeddings"].shape == (1, 2, WIDTH)


def test_weights_that_are_not_used_are_not_listed(caplog: pytest.LogCaptureFixture) -> None:
    verbosity = transformers.logging.get_verbosity()
    logging.getLogger("transformers").addHandler(caplog.handler)  # as it does not propagate
    try:
        load("clap_fused")
    finally:
        logging.getLogger("transformers").removeHandler(caplog.handler)
    assert caplog.messages == []
    assert transformers.logging.get_verbosity() == verbosity


def test_an_extractor_in_python_alone_cannot_be_exported(tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model("whisper"), tmp_path / "copy")
    transformers.WhisperFeatureExtractor(feature_size=20, chunk_length=2, dither=1e-5).save_pretrained(folder)
    encoder = load_encoder(HuggingfaceSettings(model=str(folder)))
    assert isinstance(encoder, Huggingface)
    assert isinstance(encoder.extractor, OwnExtractor)
    clip = noise(encoder, 2.0)
    assert encoder(clip)["embeddings"].shape == (1, 2, WIDTH)
    with pytest.raises(UsageError, match="cannot become part of an exported model"):
        torch.export.export(encoder, (clip,))
