"""The captioning model: encoder, adapter, word embeddings and decoder, built from one settings object."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, SerializeAsAny, model_validator
from torch import Tensor, nn

from otoscribe.bundle.graphs import Cache
from otoscribe.errors import SettingsError, unknown_name
from otoscribe.model.adapters.base import ADAPTERS, AdapterSettings
from otoscribe.model.contract import check_adapter, check_words
from otoscribe.model.decoder import Decoder, DecoderSettings
from otoscribe.model.encoders.base import ENCODERS, Encoder, EncoderSettings
from otoscribe.model.packing import Packing
from otoscribe.model.words.base import WORDS, Beginning, WordSettings
from otoscribe.registry import Registry
from otoscribe.settings import Frozen
from otoscribe.text.vocabulary import Vocabulary


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


class ModelSettings(Frozen):
    """Everything that decides what the model computes, apart from trained weights and vocabulary."""

    encoder: Annotated[SerializeAsAny[EncoderSettings], _variant(ENCODERS)]
    adapter: Annotated[SerializeAsAny[AdapterSettings], _variant(ADAPTERS)]
    words: Annotated[SerializeAsAny[WordSettings], _variant(WORDS)]
    decoder: DecoderSettings = DecoderSettings()

    @model_validator(mode="after")
    def _known(self) -> "ModelSettings":
        outputs = ENCODERS[self.encoder.name].spec_of(self.encoder).outputs
        if self.encoder.output not in outputs:
            raise unknown_name(f"output of {self.encoder.name}", self.encoder.output, outputs)
        return self

    @property
    def feature_width(self) -> int:
        """Width of the encoder's output."""
        return ENCODERS[self.encoder.name].spec_of(self.encoder).outputs[self.encoder.output]


class CaptionModel(nn.Module):
    """Waveform → encoder → adapter → memory; words so far and memory → decoder → next word.

    A frozen encoder is no part of this module: its outputs are computed beforehand. One that is tuned is, and
    stays in evaluation mode, as the statistics of its normalisations are those of its own training.

    Args:
        settings: shape of the parts.
        vocabulary: words it can say.
        beginning: from `load_words`; None where the words begin at random, or a run's weights replace them.
        encoder: from `load_encoder`, if it is tuned; None where a run's weights replace it.

    Raises:
        SettingsError: parts that do not fit each other.
        UsageError: an adapter or words that do not keep to their interface.
    """

    def __init__(
        self,
        settings: ModelSettings,
        vocabulary: Vocabulary,
        beginning: Beginning | None = None,
        encoder: Encoder | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.encoder: Encoder | None = None
        if settings.encoder.tuned:
            self.encoder = encoder or ENCODERS.build(settings.encoder.name, settings.encoder)
            self.encoder.eval()
        adapter, words = settings.adapter, settings.words
        self.adapter = ADAPTERS.build(adapter.name, adapter, settings.feature_width)
        self.words = WORDS.build(words.name, words, vocabulary.words)
        if beginning is not None:
            self.words.begin(beginning)
        check_adapter(self.adapter, settings.feature_width, adapter.name)
        check_words(self.words, words.name)
        if settings.decoder.tied and self.words.table is None:
            raise SettingsError(
                f"Tied outputs need a vector of every word, which {words.name!r} has not. Set tied to false."
            )
        self.decoder = Decoder(settings.decoder, self.words.width, self.adapter.width, len(vocabulary))

    def train(self, mode: bool = True) -> Self:
        """Switch dropout on or off everywhere but in the encoder."""
        super().train(mode)
        if self.encoder is not None:
            self.encoder.eval()
        return self

    def remember(self, features: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Turn features into what the decoder attends to, once per clip.

        Args:
            features: [clips, frames, width].
            mask: bool [clips, frames], True for real frames; None means nothing is padded.

        Returns:
            Keys and values [blocks, clips, places, heads, head_dim], and the mask [clips, places] or None.
        """
        output = self.adapter(features, mask)
        return *self.decoder.memory_cache(output.memory), output.mask

    def log_probabilities(
        self, features: Tensor, mask: Tensor | None, tokens: Tensor, clip_of_row: Sequence[int]
    ) -> Tensor:
        """Return the natural log-probability of every word after each prefix of whole captions.

        Args:
            features: [clips, frames, width].
            mask: bool [clips, frames], True for real frames; None means nothing is padded.
            tokens: int64 [rows, time], START first.
            clip_of_row: which clip each row describes.

        Returns:
            [rows, time, vocabulary].
        """
        rows, time = tokens.shape
        packing = Packing.of([time] * rows, clip_of_row).to(tokens.device)
        words = self.words(tokens).flatten(end_dim=1)
        hidden = self.decoder(words, *self.remember(features, mask), packing)
        logits = self.decoder.logits(hidden, self.words.table)
        return logits.log_softmax(dim=-1).reshape(rows, time, -1)

    def step(self, history: Tensor, cache: Cache[Tensor]) -> tuple[Tensor, Tensor, Cache[Tensor]]:
        """Read one more word of every beam: `Decoder.step` from token ids to log-probabilities.

        Args:
            history: ids of the words so far, int64 [clips, beam, time]; all but the newest are in the cache.
            cache: before the newest word; `bundle.graphs` has the shapes.

        Returns:
            Log-probabilities of the next word, [clips, beam, vocabulary]; the shares of the memory's places
            in them, [clips, beam, places]; and the cache after the newest word.
        """
        hidden, attention, after = self.decoder.step(self.words.newest(history), cache)
        logits = self.decoder.logits(hidden.flatten(0, 1), self.words.table)
        return logits.reshape(*history.shape[:2], -1).log_softmax(dim=-1), attention, after
