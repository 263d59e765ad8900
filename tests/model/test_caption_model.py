"""The whole model: settings, equality of its two ways of decoding, and one encoding per clip."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from otoscribe.errors import SettingsError, UsageError
from otoscribe.model.caption_model import CaptionModel, ModelSettings
from otoscribe.model.encoders.base import ENCODERS
from otoscribe.model.torch_stepper import TorchStepper
from otoscribe.search.beam import search
from otoscribe.search.options import Search
from otoscribe.settings import run_id
from otoscribe.text.vocabulary import START, Vocabulary
from otoscribe.train.batches import pad

VOCABULARY = Vocabulary.from_captions(["a dog barks at the rain", "birds sing in the distance"])
SMALL: dict[str, Any] = {
    "encoder": {"name": "yamnet", "output": "embeddings"},
    "adapter": {"name": "attention", "d_model": 24, "heads": 2, "head_dim": 12, "ff": 32},
    "words": {"name": "random", "width": 16},
    "decoder": {"d_model": 16, "heads": 2, "head_dim": 8, "blocks": 2},
}


def settings(**changes: dict[str, Any]) -> ModelSettings:
    return ModelSettings.model_validate_json(json.dumps(SMALL | changes))


def model(**changes: dict[str, Any]) -> CaptionModel:
    torch.manual_seed(0)
    return CaptionModel(settings(**changes), VOCABULARY).eval()


def clips() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(frames, 1024, generator=generator) for frames in (5, 2, 7)]


def stepper_of(made: CaptionModel, features: torch.Tensor, mask: torch.Tensor | None) -> TorchStepper:
    with torch.inference_mode():
        return TorchStepper(made, *made.remember(features, mask))


def test_settings_survive_json_with_their_variants() -> None:
    made = settings()
    assert ModelSettings.model_validate_json(made.model_dump_json()) == made
    assert made.model_dump(mode="json")["adapter"] == {**SMALL["adapter"], "dropout": 0.0, "positions": True}


def test_every_nested_setting_changes_the_id() -> None:
    ids = {
        run_id(settings()),
        run_id(settings(encoder={"name": "yamnet", "overlap": 0.5})),
        run_id(settings(adapter={"name": "mlp"})),
        run_id(settings(adapter={"name": "mlp", "hidden": 12})),
        run_id(settings(words={"name": "random", "width": 17})),
        run_id(settings(decoder={"d_model": 16, "heads": 2, "head_dim": 8, "blocks": 3})),
    }
    assert len(ids) == 6
    assert run_id(settings()) == run_id(settings())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adapter": {"name": "mpl"}}, "There is no adapter named 'mpl'. Did you mean 'mlp'"),
        ({"words": {"name": "glov"}}, "There is no word embedding named 'glov'. Did you mean 'glove'"),
        ({"encoder": {"name": "yamnett"}}, "There is no encoder named 'yamnett'"),
        (
            {"encoder": {"name": "yamnet", "output": "embedding"}},
            "no output of yamnet named 'embedding'. Did you mean 'embeddings'",
        ),
        ({"adapter": {"hidden": 3}}, "The adapter needs a name. Known: "),
    ],
)
def test_unknown_names_are_told_with_the_nearest(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        settings(**changes)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"adapter": {"name": "mlp", "hiden": 3}},
        {"encoder": {"name": "yamnet", "overlap": 0.25}},
        {"decoder": {"blocks": 0}},
        {"decoder": {"blocks": "3"}},
        {"words": {"name": "random", "width": 1.5}},
    ],
)
def test_unknown_keys_and_impossible_values_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(**changes)


def test_a_clip_encoded_once_for_all_its_captions_gives_what_each_caption_alone_gives() -> None:
    made = model()
    features, mask = pad(clips())
    tokens = torch.tensor([[START, 4, 5], [START, 6, 7], [START, 8, 4], [START, 5, 9]])
    clip_of_row = torch.tensor([1, 0, 1, 2])
    with torch.inference_mode():
        together = made.log_probabilities(features, mask, tokens, clip_of_row)
        for row, clip in enumerate(clip_of_row.tolist()):
            alone = made.log_probabilities(
                clips()[clip][None], None, tokens[row : row + 1], torch.tensor([0])
            )
            torch.testing.assert_close(alone[0], together[row])
    torch.testing.assert_close(together.exp().sum(-1), torch.ones(4, 3))


def test_the_stepper_gives_what_the_whole_sequence_gives_through_any_reordering() -> None:
    made = model()
    stepper = stepper_of(made, *pad(clips()))
    history = np.full((3, 1, 1), START)
    clip_of_line = np.arange(3)
    state = stepper.start()
    generator = np.random.default_rng(0)
    for rows in ([[0, 0, 0], [1, 1, 1], [2, 2, 2]], [[8, 6, 7], [2, 0, 0]], [[5, 3]], [[0, 1]]):
        log_probabilities, state = stepper.step(state, history)
        for line, clip in enumerate(clip_of_line):
            with torch.inference_mode():
                expected = made.log_probabilities(
                    clips()[clip][None],
                    None,
                    torch.from_numpy(history[line]),
                    torch.zeros(history.shape[1], dtype=torch.int64),
                )[:, -1]
            np.testing.assert_allclose(log_probabilities[line], expected, atol=1e-5)
        chosen = np.array(rows)
        clip_of_line = clip_of_line[chosen[:, 0] // history.shape[1]]
        history = history.reshape(-1, history.shape[-1])[chosen]
        state = stepper.reorder(state, chosen)
        newest = generator.integers(4, len(VOCABULARY), (*chosen.shape, 1))
        history = np.concatenate([history, newest], axis=-1)


def test_search_over_a_batch_gives_each_clip_what_it_gets_alone() -> None:
    made = model(decoder={**SMALL["decoder"], "positions": False})
    options = Search(beam=3, candidates=2, maximum_words=6)
    together = search(stepper_of(made, *pad(clips())), options)
    for clip, expected in zip(clips(), together, strict=True):
        (alone,) = search(stepper_of(made, clip[None], None), options)
        assert [one.tokens for one in alone] == [one.tokens for one in expected]
        np.testing.assert_allclose(
            [one.log_probability for one in alone], [one.log_probability for one in expected], rtol=1e-5
        )


@pytest.mark.parametrize("adapter", ["identity", "mlp", "attention"])
def test_the_encoders_width_flows_through_every_adapter(adapter: str) -> None:
    for name in ENCODERS:
        for output, width in ENCODERS[name].spec.outputs.items():
            made = model(encoder={"name": name, "output": output}, adapter={"name": adapter})
            tokens, features = torch.tensor([[START, 4]]), torch.rand(1, 3, width)
            memory = made.adapter(features, None).memory
            assert memory.shape == (1, 3, {"identity": width, "mlp": 256, "attention": 512}[adapter])
            assert made.log_probabilities(features, None, tokens, torch.tensor([0])).isfinite().all()


def test_tied_words_of_another_width_are_refused() -> None:
    with pytest.raises(SettingsError, match="tied needs word embeddings as wide as d_model"):
        model(decoder={"d_model": 32, "tied": True})
