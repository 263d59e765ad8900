"""Every field of every settings class changes what is computed: a field that is read nowhere fails here.

A new field, or a new variant's, fails until `OTHER` has a second value for it.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from otoscribe.model.adapters.base import ADAPTERS, AdapterSettings
from otoscribe.model.caption_model import CaptionModel, ModelSettings
from otoscribe.model.decoder import Decoder, DecoderSettings
from otoscribe.model.encoders.base import ENCODERS, FORMULA, EncoderSettings, load_encoder
from otoscribe.model.words.base import WORDS, PublishedSettings, WordSettings
from otoscribe.search.beam import search
from otoscribe.search.options import Search
from otoscribe.settings import Frozen
from otoscribe.text.vocabulary import START, Vocabulary
from support.encoders import random_encoder, settings_of
from support.packed import decoded
from support.table_stepper import TableStepper, random_table
from support.tiny_transformers import tiny_model
from support.words import built

WIDTH = 16
VOCABULARY = Vocabulary.from_captions(["a dog barks while rain falls on the roof"])
HISTORY = torch.tensor([[START, 4, 5, 6], [START, 7, 8, 9]])

OTHER: dict[str, Any] = {
    # encoders
    "overlap": 0.5,
    "seconds": 2.0,
    "weights": FORMULA,
    # adapters and decoder
    "d_model": 24,
    "heads": 3,
    "head_dim": 12,
    "ff": 40,
    "dropout": 0.5,
    "hidden": 40,
    "unseen": 0.5,
    "styles": ("brief",),
    "blocks": 2,
    # words
    "width": 24,
    "spread": 0.5,
    "window": 1,
    "passes": 2,
    "seed": 1,
    "mode": "full",
    # search
    "beam": 1,
    "candidates": 3,
    "maximum_words": 3,
    "minimum_words": 6,
    "length_normalisation": 1.0,
    "no_repeat": 1,
    # the whole model
    "encoder": ENCODERS["yamnet"].Settings(name="yamnet", output="logits"),
    "adapter": ADAPTERS["mlp"].Settings(name="mlp"),
    "words": WORDS["random"].Settings(name="random"),
    "decoder": DecoderSettings(d_model=WIDTH, blocks=2),
}
"""By field: a value that is not the one in `BASES`, nor an encoder's default; booleans need none."""

BASES: list[Frozen] = [
    *(ADAPTERS[name].Settings(name=name) for name in ADAPTERS),
    *(WORDS[name].Settings(name=name) for name in WORDS),
    DecoderSettings(d_model=WIDTH, heads=2, head_dim=8),
    Search(),
    ModelSettings(
        encoder=ENCODERS["yamnet"].Settings(name="yamnet"),
        adapter=ADAPTERS["identity"].Settings(name="identity"),
        words=WORDS["random"].Settings(name="random", width=12),
        decoder=DecoderSettings(d_model=WIDTH),
    ),
]
"""What is changed, one field at a time."""


def fields_of(settings: Frozen) -> Iterator[tuple[Frozen, str]]:
    """Yield every field but the variant's name."""
    # What published words are is named in their settings, but does not change them; `words/` tests that.
    idle = {"name"} | (
        set(PublishedSettings.model_fields) if isinstance(settings, PublishedSettings) else set()
    )
    yield from ((settings, field) for field in type(settings).model_fields if field not in idle)


def title(value: Any) -> str:
    return value if isinstance(value, str) else type(value).__name__


def trained(module: nn.Module, compute: Callable[[], Tensor]) -> Iterator[Any]:
    """Yield everything that one step of training shows of a module."""
    torch.manual_seed(2)
    output = compute()
    if output.requires_grad:
        output.sin().sum().backward()
    yield output.detach()
    for name, weight in module.named_parameters():
        yield from (name, weight.requires_grad, weight.detach(), weight.grad)
    for name, value in module.named_buffers():
        yield from (name, value)


def of_encoder(settings: EncoderSettings, folder: Path) -> Iterator[Any]:
    encoder = load_encoder(settings, folder)
    waveforms = 0.1 * torch.randn(1, 7 * encoder.spec.sample_rate // 2)
    yield encoder.features(waveforms)
    yield encoder.times(waveforms.shape[1])
    yield [weight.requires_grad for weight in encoder.parameters()]


def of_adapter(settings: Any) -> Iterator[Any]:
    variant = ADAPTERS[settings.name]
    features = torch.rand(2, 5, variant.input_width or 12)
    adapter = variant(settings, features.shape[2])
    yield from trained(adapter, lambda: adapter(features, None).memory)


def of_words(settings: Any) -> Iterator[Any]:
    words = built(settings, VOCABULARY.words)
    yield from trained(words, lambda: words(HISTORY))


def of_decoder(settings: DecoderSettings) -> Iterator[Any]:
    words, memory, table = torch.randn(2, 4, WIDTH), torch.randn(2, 5, WIDTH), torch.randn(9, WIDTH)
    decoder = Decoder(settings, WIDTH, WIDTH, 9)
    yield from trained(
        decoder,
        lambda: decoder.logits(decoded(decoder, words, memory, None, [0, 1]), table),
    )


def of_search(settings: Search) -> Iterator[Any]:
    yield search(TableStepper(random_table(3, vocabulary=9), list(range(20))), settings)


def of_model(settings: ModelSettings) -> Iterator[Any]:
    model = CaptionModel(settings, VOCABULARY)
    features = torch.rand(2, 5, settings.feature_width)
    yield from trained(model, lambda: model.log_probabilities(features, None, HISTORY, [0, 1]))


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    return type(one) is type(other) and bool(one == other)


def other_value(settings: Frozen, field: str) -> Any:
    value = getattr(settings, field)
    if isinstance(value, bool):
        return not value
    if isinstance(settings, EncoderSettings) and field == "output":
        outputs = ENCODERS[settings.name].spec_of(settings).outputs
        return next(output for output in outputs if output != value)
    if field == "model":
        return tiny_model("whisper")
    assert field in OTHER, f"Add another value of {type(settings).__name__}.{field} to OTHER."
    return OTHER[field]


def assert_it_matters(settings: Frozen, field: str, compute: Callable[[Any], Iterator[Any]]) -> None:
    """Compare what two settings that differ in one field compute, all else alike."""
    before, again = (computed(settings, compute) for _ in range(2))
    assert all(map(same, before, again))
    assert_it_differs(before, settings, field, compute)


def assert_it_differs(
    before: list[Any], settings: Frozen, field: str, compute: Callable[[Any], Iterator[Any]]
) -> None:
    """Compare what was computed with what settings that differ in one field compute."""
    changed = settings.model_copy(update={field: other_value(settings, field)})
    assert changed != settings
    after = computed(changed, compute)
    assert len(before) != len(after) or not all(map(same, before, after))


def computed(settings: Frozen, compute: Callable[[Any], Iterator[Any]]) -> list[Any]:
    torch.manual_seed(1)
    return list(compute(settings))


COMPUTE: dict[type[Frozen], Callable[[Any], Iterator[Any]]] = {
    AdapterSettings: of_adapter,
    WordSettings: of_words,
    DecoderSettings: of_decoder,
    Search: of_search,
    ModelSettings: of_model,
}


@pytest.mark.parametrize(("settings", "field"), list(chain(*map(fields_of, BASES))), ids=title)
def test_a_field_changes_what_is_computed(settings: Frozen, field: str) -> None:
    (compute,) = (compute for kind, compute in COMPUTE.items() if isinstance(settings, kind))
    assert_it_matters(settings, field, compute)


@pytest.mark.parametrize("name", list(ENCODERS))
def test_a_field_changes_what_an_encoder_hears(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, state = ENCODERS[name], random_encoder(name).state_dict()
    for file in kind.spec.files[0]:
        monkeypatch.setattr(kind, "state_of", lambda self, files: state)
        (tmp_path / file.name).write_bytes(b"read as random weights")
    compute = partial(of_encoder, folder=tmp_path)
    before, again = (computed(settings_of(name), compute) for _ in range(2))
    assert all(map(same, before, again))
    for settings, field in fields_of(settings_of(name)):
        if field == "output" and len(kind.spec_of(settings).outputs) == 1:
            continue
        assert_it_differs(before, settings, field, compute)  # large networks: none is made twice for it
