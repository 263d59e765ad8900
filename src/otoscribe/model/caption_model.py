"""The captioning model: encoder, adapter, word embeddings and decoder, built from one settings object."""

import json
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BeforeValidator, SerializeAsAny, model_validator
from torch import Tensor, nn

from otoscribe.errors import SettingsError, unknown_name
from otoscribe.model.adapters.base import ADAPTERS
from otoscribe.model.decoder import Decoder, DecoderSettings
from otoscribe.model.encoders.base import ENCODERS, Encoder
from otoscribe.model.words.base import WORDS
from otoscribe.registry import Registry
from otoscribe.settings import Settings
from otoscribe.text.vocabulary import Vocabulary


class EncoderSettings(Settings):
    """Which frozen encoder hears, and what of it the adapter gets."""

    name: str = "yamnet"
    """Name of the encoder."""
    overlap: float = 0.0
    """Share of the audio under one embedding that the next one hears again, 0 or 0.5."""
    output: str = "embeddings"
    """Which of the encoder's outputs the adapter gets."""

    @model_validator(mode="after")
    def _known(self) -> "EncoderSettings":
        if self.overlap not in (0.0, 0.5):
            raise ValueError(f"overlap is 0.0 or 0.5, not {self.overlap}")
        outputs = ENCODERS[self.name].spec.outputs
        if self.output not in outputs:
            raise unknown_name(f"output of {self.name}", self.output, outputs)
        return self

    @property
    def width(self) -> int:
        """Width of the output."""
        return ENCODERS[self.name].spec.outputs[self.output]


def _name(variant: Settings) -> str:
    name: str = variant.model_dump()["name"]
    return name


def _variant(registry: Registry[Any]) -> BeforeValidator:
    """Read a variant's settings by their `name`, so that a new variant needs no list of all of them."""

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if not isinstance(value.get("name"), str):
            raise SettingsError(f"The {registry.kind} needs a name. Known: {', '.join(registry)}.")
        # By way of JSON, in which settings are written: a list may then stand for a tuple.
        return registry[value["name"]].Settings.model_validate_json(json.dumps(value))

    return BeforeValidator(read)


class ModelSettings(Settings):
    """Everything that decides what the model computes, apart from weights and vocabulary."""

    encoder: EncoderSettings
    adapter: Annotated[SerializeAsAny[Settings], _variant(ADAPTERS)]
    words: Annotated[SerializeAsAny[Settings], _variant(WORDS)]
    decoder: DecoderSettings


class CaptionModel(nn.Module):
    """Waveform → encoder → adapter → memory; words so far and memory → decoder → next word.

    Args:
        settings: shape of the parts.
        vocabulary: words it can say.
        encoder: the frozen encoder; None where its outputs are computed beforehand.
    """

    def __init__(
        self, settings: ModelSettings, vocabulary: Vocabulary, encoder: Encoder | None = None
    ) -> None:
        super().__init__()
        self.settings = settings
        self.encoder = encoder
        adapter, words = settings.adapter, settings.words
        self.adapter = ADAPTERS[_name(adapter)](adapter, settings.encoder.width)
        self.words = WORDS[_name(words)](words, vocabulary.words)
        self.decoder = Decoder(settings.decoder, self.words.width, self.adapter.width, len(vocabulary))

    def encode(self, waveform: Tensor) -> Tensor:
        """Return the features [frames, width] of one waveform [samples] at the encoder's sample rate."""
        if self.encoder is None:
            raise ValueError("This model was built without its encoder.")
        features: Tensor = self.encoder(waveform[None])[self.settings.encoder.output][0]
        return features

    def remember(self, features: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Turn features into what the decoder attends to, once per clip.

        Args:
            features: [clips, frames, width].
            mask: bool [clips, frames], True for real frames; None means nothing is padded.

        Returns:
            Keys and values [blocks, clips, frames', heads, head_dim], and the mask [clips, frames'] or None.
        """
        memory, memory_mask = self.adapter(features, mask)
        return *self.decoder.memory_cache(memory), memory_mask

    def log_probabilities(
        self, features: Tensor, mask: Tensor | None, tokens: Tensor, clip_of_row: Tensor
    ) -> Tensor:
        """Return the natural log-probability of every word after each prefix of whole captions.

        Args:
            features: [clips, frames, width].
            mask: bool [clips, frames], True for real frames; None means nothing is padded.
            tokens: int64 [rows, time], START first.
            clip_of_row: int64 [rows], which clip each row describes.

        Returns:
            [rows, time, vocabulary].
        """
        hidden = self.decoder(self.words(tokens), *self.remember(features, mask), clip_of_row)
        return self.decoder.logits(hidden, self.words.weight).log_softmax(dim=-1)

    def step(
        self,
        tokens: Tensor,
        keys: Tensor,
        values: Tensor,
        memory_keys: Tensor,
        memory_values: Tensor,
        memory_mask: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Feed one token per beam: `Decoder.step` from token ids to log-probabilities.

        Args:
            tokens: int64 [clips, beam].
            keys: as in `Decoder.step`, and so all others.
            values: cache of the words before.
            memory_keys: cache of the memory.
            memory_values: cache of the memory.
            memory_mask: bool [clips, frames], True for real frames.

        Returns:
            Log-probabilities [clips, beam, vocabulary], and keys and values with time + 1.
        """
        hidden, next_keys, next_values = self.decoder.step(
            self.words(tokens), keys, values, memory_keys, memory_values, memory_mask
        )
        return self.decoder.logits(hidden, self.words.weight).log_softmax(dim=-1), next_keys, next_values


@dataclass(frozen=True)
class TorchState:
    """Caches of a decoding: of the words [blocks, clips, beam, heads, time, head_dim], and of the memory."""

    keys: Tensor
    values: Tensor
    memory_keys: Tensor
    memory_values: Tensor
    memory_mask: Tensor


class TorchStepper:
    """`search.Stepper` over a model in evaluation mode.

    Nothing here is differentiated: make the memory under `torch.inference_mode()`, in which every step runs.

    Args:
        model: the model.
        keys: from `CaptionModel.remember`, as are the values and the mask.
        values: [blocks, clips, frames, heads, head_dim], as the keys.
        mask: bool [clips, frames], True for real frames; None means nothing is padded.
    """

    def __init__(self, model: CaptionModel, keys: Tensor, values: Tensor, mask: Tensor | None) -> None:
        self.model = model
        self.clips = keys.shape[1]
        if mask is None:
            mask = torch.ones(keys.shape[1:3], dtype=torch.bool, device=keys.device)
        self.memory = keys, values, mask

    def start(self) -> TorchState:
        """Return the state before START, one row per clip."""
        blocks, clips, _, heads, head_dim = self.memory[0].shape
        empty = self.memory[0].new_zeros(blocks, clips, 1, heads, 0, head_dim)
        return TorchState(empty, empty, *self.memory)

    def step(self, state: TorchState, tokens: NDArray[np.int64]) -> tuple[NDArray[np.float32], TorchState]:
        """Feed tokens [clips, beam]; see `search.Stepper`."""
        memory = state.memory_keys, state.memory_values, state.memory_mask
        with torch.inference_mode():
            fed = torch.from_numpy(tokens).to(state.keys.device)
            log_probabilities, keys, values = self.model.step(fed, state.keys, state.values, *memory)
        return log_probabilities.float().cpu().numpy(), TorchState(keys, values, *memory)

    def reorder(self, state: TorchState, rows: NDArray[np.int64]) -> TorchState:
        """Pick rows; see `search.Stepper`."""
        clips = torch.from_numpy(rows[:, 0] // state.keys.shape[2]).to(state.keys.device)
        flat = torch.from_numpy(rows.ravel()).to(state.keys.device)
        keys, values = (
            cache.flatten(1, 2).index_select(1, flat).reshape(cache.shape[0], *rows.shape, *cache.shape[3:])
            for cache in (state.keys, state.values)
        )
        return TorchState(
            keys,
            values,
            state.memory_keys.index_select(1, clips),
            state.memory_values.index_select(1, clips),
            state.memory_mask.index_select(0, clips),
        )
