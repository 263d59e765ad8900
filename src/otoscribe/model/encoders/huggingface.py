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
from pydantic import Field
from torch import Tensor

from otoscribe.errors import WeightsError
from otoscribe.model.encoders.base import Encoder, EncoderSettings, EncoderSpec
from otoscribe.model.feature_extractors import in_torch
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
        self.extractor = in_torch(extractor, settings.model, settings.seconds)
        # An even number, of which half is whole.
        length = 2 * round(settings.seconds * self.spec.sample_rate / 2)
        self.windows = Windows(length, round(length * (1.0 - settings.overlap)))
        self.receptive_field = self.windows.receptive_field()

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
        inputs = self.extractor(windows.flatten(end_dim=1))
        hidden = self.network(**{self.network.main_input_name: inputs}).last_hidden_state
        if hidden.ndim == 4:  # an image, [batch, width, bands, time]
            embeddings = hidden.mean(dim=(2, 3))
        else:
            embeddings = hidden[:, : math.ceil(hidden.shape[1] * self.extractor.filled)].mean(dim=1)
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
                config=_described(name)[0],
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
    if config.model_type == "clap":  # which fuses parts of what is longer than it hears, as no window is
        config.audio_config.enable_fusion = False
    return config, extractor


def _offline() -> bool:
    return bool(os.environ.get("OTOSCRIBE_OFFLINE"))


@contextmanager
def _loading(model: str) -> Iterator[None]:
    """Turn whatever transformers raises into a sentence; keep it from listing weights that are not used."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    except Exception as error:
        reason = (str(error) or type(error).__name__).strip().splitlines()[0].rstrip(".:")
        raise WeightsError(
            f"{model} is no audio model that transformers can load ({reason}). Name a folder that "
            f"save_pretrained wrote, or a model of the Hugging Face hub, with weights in safetensors."
        ) from error
    finally:
        logging.set_verbosity(verbosity)
