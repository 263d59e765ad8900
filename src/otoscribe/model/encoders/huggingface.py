"""Any audio model of Hugging Face's transformers: its last hidden state, behind its own feature extractor.

For models that one call of `AutoModel` and one of `AutoFeatureExtractor` load from a folder or from the hub:
wav2vec 2.0 and its relatives (HuBERT, WavLM, ...), the Audio Spectrogram Transformer, the audio half of CLAP,
Whisper's encoder.
"""

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from otoscribe.errors import UsageError, WeightsError
from otoscribe.model.encoders.base import Encoder, EncoderSettings, EncoderSpec
from otoscribe.model.spectrogram import Mel, MelSpectrum
from otoscribe.model.windows import Windows


class HuggingfaceSettings(EncoderSettings):
    """Settings of an encoder from Hugging Face."""

    name: Literal["huggingface"] = "huggingface"
    model: str
    """Folder that `save_pretrained` wrote, or name on the hub (`facebook/wav2vec2-base`)."""
    seconds: float = Field(default=1.0, gt=0.0)
    """Length of the windows into which a clip is cut; each gives one embedding, without knowing of others."""


class Huggingface(Encoder):
    """A model of transformers' on windows of a clip; an embedding is the mean of its last hidden state.

    What a model's own feature extractor adds to fill up a window, as Whisper's does up to 30 s, is left out
    of the mean where the places of the hidden state follow time.
    """

    Settings = HuggingfaceSettings
    spec = EncoderSpec(
        name="huggingface",
        paper="that of the model",
        licence="that of the model",
        sample_rate=0,
        outputs={},
        version=1,
        files=((),),
    )

    def __init__(self, settings: EncoderSettings) -> None:
        super().__init__(settings)
        assert isinstance(settings, HuggingfaceSettings)
        from transformers import AutoModel

        self.spec = self.spec_of(settings)  # type: ignore[misc]  # of this network
        config, extractor = _described(settings.model)
        with _loading(settings.model):
            self.network = _audio_part(AutoModel.from_config(config))  # type: ignore[no-untyped-call]
        self.front_end = _front_end(extractor, settings)
        # An even number, of which half is whole.
        length = 2 * round(settings.seconds * self.spec.sample_rate / 2)
        self.windows = Windows(length, round(length * (1.0 - settings.overlap)))

    @classmethod
    def spec_of(cls, settings: EncoderSettings) -> EncoderSpec:
        """Return what the model's configuration says of it.

        Raises:
            WeightsError: there is no such model, or it is none that transformers loads.
        """
        assert isinstance(settings, HuggingfaceSettings)
        config, extractor = _described(settings.model)
        with _loading(settings.model):
            width = int(getattr(config, "audio_config", config).hidden_size)
            rate = int(extractor.sampling_rate)
        return EncoderSpec(
            name=cls.spec.name,
            paper=f"that of {settings.model}",
            licence=f"that of {settings.model}",
            sample_rate=rate,
            outputs={"embeddings": width},
            version=cls.spec.version,
            files=cls.spec.files,
        )

    def forward(self, waveforms: Tensor) -> dict[str, Tensor]:
        """Return embeddings [clips, windows, width] of equally long clips."""
        windows = self.windows.split(waveforms)  # [clips, windows, length]
        inputs = self.front_end(windows.flatten(end_dim=1))
        hidden = self.network(**{self.network.main_input_name: inputs}).last_hidden_state
        if hidden.ndim == 4:  # an image, [batch, width, bands, time]
            embeddings = hidden.mean(dim=(2, 3))
        else:
            embeddings = hidden[:, : math.ceil(hidden.shape[1] * self.front_end.filled)].mean(dim=1)
        return {"embeddings": embeddings.reshape(*windows.shape[:2], embeddings.shape[-1])}

    def times(self, samples: int) -> list[tuple[float, float]]:
        """Return the window that each embedding hears."""
        return self.windows.times(samples, self.spec.sample_rate)

    def state_of(self, files: Mapping[str, Path]) -> dict[str, Tensor]:
        """Read the model's weights, from safetensors alone.

        Raises:
            WeightsError: they are not there, damaged, or not all of this model.
        """
        from transformers import AutoModel
        from transformers.utils import logging

        assert isinstance(self.settings, HuggingfaceSettings)
        name = self.settings.model
        with _loading(name):
            logging.disable_progress_bar()  # type: ignore[no-untyped-call]
            whole, found = AutoModel.from_pretrained(
                name,
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
                local_files_only=_offline(),
            )
        part = _audio_part(whole)
        (prefix,) = (path for path, module in whole.named_modules() if module is part)
        missing = sorted(key for key in found["missing_keys"] if key.startswith(prefix))
        if missing:
            raise WeightsError(f"{name} lacks weights of its network: {missing[0]}.")
        return dict(part.state_dict(prefix="network."))


class FrontEnd(nn.Module):
    """Windows [batch, length] → what the network reads."""

    filled = 1.0
    """Share of the network's places that a window fills."""


class OwnExtractor(FrontEnd):
    """Whatever the model's own feature extractor does; in NumPy, so that no graph can hold it."""

    def __init__(self, extractor: Any, settings: HuggingfaceSettings) -> None:
        super().__init__()
        self.extractor, self.model = extractor, settings.model

    def forward(self, windows: Tensor) -> Tensor:
        """Return the extractor's features, on the windows' device."""
        if torch.compiler.is_compiling():
            raise UsageError(
                f"The feature extractor of {self.model} ({type(self.extractor).__name__}) cannot become part "
                f"of an exported model. A run with it can be evaluated."
            )
        rows = list(windows.detach().cpu().numpy())
        features = self.extractor(rows, sampling_rate=self.extractor.sampling_rate, return_tensors="pt")
        found: Tensor = features[self.extractor.model_input_names[0]]
        return found.to(windows)


class Samples(FrontEnd):
    """The samples themselves, of zero mean and unit variance if the extractor says so (wav2vec 2.0)."""

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        self.normalise = bool(extractor.do_normalize)

    def forward(self, windows: Tensor) -> Tensor:
        """Return the samples, [batch, length]."""
        if not self.normalise:
            return windows
        centred = windows - windows.mean(dim=1, keepdim=True)
        return centred / torch.sqrt(centred.square().mean(dim=1, keepdim=True) + 1e-7)


class WhisperMel(FrontEnd):
    """Whisper's log-mel spectrogram of a window, filled up with zeros to 30 s."""

    def __init__(self, extractor: Any, settings: HuggingfaceSettings) -> None:
        super().__init__()
        self.samples = int(extractor.n_samples)
        self.margin = int(extractor.n_fft) // 2
        self.filled = settings.seconds / float(extractor.chunk_length)
        self.mel = Mel(
            MelSpectrum(
                sample_rate=int(extractor.sampling_rate),
                window_length=int(extractor.n_fft),
                hop_length=int(extractor.hop_length),
                fft_length=int(extractor.n_fft),
                mel_bands=int(extractor.feature_size),
                minimum_hz=0.0,
                maximum_hz=8000.0,
                filters="librosa",
                power=2,
            )
        )

    def forward(self, windows: Tensor) -> Tensor:
        """Return the spectrograms, [batch, bands, frames]."""
        filled = F.pad(windows, (0, self.samples - windows.shape[1]))
        mirrored = F.pad(filled[:, None], (self.margin, self.margin), mode="reflect")[:, 0]
        mel = self.mel(mirrored)[:, :-1].transpose(1, 2)  # Whisper drops the last frame
        logarithm = torch.log10(mel.clamp_min(1e-10))
        largest = logarithm.amax(dim=(1, 2), keepdim=True)
        return (torch.maximum(logarithm, largest - 8.0) + 4.0) / 4.0


def _front_end(extractor: Any, settings: HuggingfaceSettings) -> FrontEnd:
    """Return what does the same as an extractor, in PyTorch where that is written here."""
    kind = type(extractor).__name__
    # Beyond these, extractors cut what they get, some of them at random.
    longest = {
        "WhisperFeatureExtractor": lambda: extractor.chunk_length,
        "ClapFeatureExtractor": lambda: extractor.max_length_s,
        "ASTFeatureExtractor": lambda: extractor.max_length * 0.01,
    }.get(kind, lambda: math.inf)()
    if settings.seconds > longest:
        raise UsageError(f"{settings.model} hears {longest:g} s at most. Set seconds to that or less.")
    if kind == "Wav2Vec2FeatureExtractor":
        return Samples(extractor)
    if kind == "WhisperFeatureExtractor" and not extractor.dither:
        return WhisperMel(extractor, settings)
    return OwnExtractor(extractor, settings)


def _audio_part(network: Any) -> Any:
    """Return what hears: the encoder of one that writes, the audio half of one that also reads or sees."""
    if hasattr(network, "audio_model"):
        return network.audio_model
    return network.get_encoder() if network.config.is_encoder_decoder else network


@lru_cache(maxsize=8)
def _described(model: str) -> tuple[Any, Any]:
    """Return a model's configuration and its feature extractor."""
    from transformers import AutoConfig, AutoFeatureExtractor

    with _loading(model):
        kinds = (AutoConfig, AutoFeatureExtractor)
        config, extractor = (kind.from_pretrained(model, local_files_only=_offline()) for kind in kinds)
    return config, extractor


def _offline() -> bool:
    return bool(os.environ.get("OTOSCRIBE_OFFLINE"))


@contextmanager
def _loading(model: str) -> Iterator[None]:
    """Turn whatever transformers raises into a sentence."""
    try:
        yield
    except Exception as error:
        reason = (str(error) or type(error).__name__).strip().splitlines()[0].rstrip(".:")
        raise WeightsError(
            f"{model} is no audio model that transformers can load ({reason}). Name a folder that "
            f"save_pretrained wrote, or a model of the Hugging Face hub, with weights in safetensors."
        ) from error
