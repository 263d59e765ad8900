"""The paper's 264 settings, and a small sample of them from recording to caption."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from checks.grid import Result, make, one_step, report, try_all
from checks.paper import ADAPTERS, ENCODERS, OVERLAPS, WORDS, Cell, Words, grid, sample
from otoscribe.model.adapters.base import ADAPTERS as KNOWN_ADAPTERS
from otoscribe.model.decoder import DecoderSettings
from otoscribe.model.encoders.base import ENCODERS as KNOWN_ENCODERS
from otoscribe.model.words.base import WORDS as KNOWN_WORDS
from otoscribe.settings import run_id
from otoscribe.train.settings import ExperimentSettings, read_settings

# Of the sample, one setting for each word setting; the overlap changes after every encoder.
TRIED = [
    pair[place // len(ENCODERS) % 2]
    for place, pair in enumerate(zip(sample()[:11], sample()[11:], strict=True))
]
PAIRS = sorted({cell[:2] for cell in TRIED})


@pytest.fixture(scope="module")
def settings() -> Mapping[Cell, ExperimentSettings]:
    return grid()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("recordings"), (0.3, 0.6, 1.3))


def reduced(settings: ExperimentSettings) -> ExperimentSettings:
    """Return settings of one step, of a model that takes no time."""
    small = {"d_model": 16, "heads": 2, "head_dim": 8, "ff": 16}
    model = settings.model
    adapter = model.adapter.model_copy(
        update={name: value for name, value in small.items() if name in type(model.adapter).model_fields}
    )
    decoder = DecoderSettings(blocks=1, **small)
    return one_step(
        settings.model_copy(
            update={"model": model.model_copy(update={"adapter": adapter, "decoder": decoder})}
        )
    )


def test_264_settings_with_names_of_their_own(settings: Mapping[Cell, ExperimentSettings]) -> None:
    assert len(settings) == 264
    assert len({run_id(one) for one in settings.values()}) == 264
    models = [one.model for one in settings.values()]
    assert Counter(model.encoder.name for model in models) == dict.fromkeys(
        ("vggish", "yamnet", "openl3", "coala"), 66
    )
    assert Counter(model.encoder.overlap for model in models) == {0.0: 132, 0.5: 132}
    assert Counter(model.adapter.name for model in models) == dict.fromkeys(ADAPTERS, 88)
    expected = {
        (name, tuned): 24
        for name in ("random", "cbow", "word2vec", "glove", "fasttext")
        for tuned in (False, True)
    }
    assert Counter((model.words.name, getattr(model.words, "tuned", None)) for model in models) == {
        **expected,
        ("bert", None): 24,
    }


def test_every_setting_is_known_and_the_preset_apart_from_its_axes(
    settings: Mapping[Cell, ExperimentSettings],
) -> None:
    paper = read_settings("paper")
    assert {*ENCODERS} <= {*KNOWN_ENCODERS}
    for cell, one in settings.items():
        model = one.model
        assert (one.data, one.training, model.decoder) == (paper.data, paper.training, paper.model.decoder)
        assert (model.encoder.name, model.encoder.overlap, model.adapter.name) == cell[:3]
        assert type(model.encoder) is KNOWN_ENCODERS[cell.encoder].Settings
        assert type(model.adapter) is KNOWN_ADAPTERS[cell.adapter].Settings
        assert type(model.words) is KNOWN_WORDS[cell.words.name].Settings
        assert model.encoder.output == "embeddings"
        assert not model.encoder.tuned
        if cell.adapter == "attention":
            assert model.adapter == paper.model.adapter
    assert paper in settings.values()


def test_the_sample_has_every_value_of_every_axis_at_both_overlaps() -> None:
    for overlap in OVERLAPS:
        chosen = [cell for cell in sample() if cell.overlap == overlap]
        assert len(chosen) == len(WORDS)
        assert {cell.encoder for cell in chosen} == {*ENCODERS}
        assert {cell.adapter for cell in chosen} == {*ADAPTERS}
        assert [cell.words for cell in chosen] == [*WORDS]
    assert len({(cell.encoder, cell.adapter) for cell in sample()}) == len(ENCODERS) * len(ADAPTERS)


def test_the_tried_ones_have_every_value_of_every_axis() -> None:
    axes = list(zip(*TRIED, strict=True))
    assert [{*axis} for axis in axes] == [{*ENCODERS}, {*OVERLAPS}, {*ADAPTERS}, {*WORDS}]


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair[0]} {pair[1]}")
def test_settings_are_trained_and_decoded(
    settings: Mapping[Cell, ExperimentSettings], table: Path, pair: tuple[str, float]
) -> None:
    chosen = {cell: reduced(settings[cell]) for cell in TRIED if cell[:2] == pair}
    results = try_all(chosen, table, [])
    assert results.keys() == chosen.keys()
    for result in results.values():
        assert isinstance(result, Result), result
        assert result.after < result.before
        assert result.caption
        assert result.difference is None


def test_what_fails_is_listed_with_its_reason_and_the_rest_goes_on(
    settings: Mapping[Cell, ExperimentSettings], table: Path
) -> None:
    whole = Cell("coala", 0.0, "mlp", Words("random", False))
    failed = Cell("coala", 0.0, "mlp", Words("word2vec", False))
    broken = reduced(settings[failed])
    words = broken.model.words.model_copy(update={"weights": f"sha256:{'0' * 64}"})
    broken = broken.model_copy(update={"model": broken.model.model_copy(update={"words": words})})
    results = try_all({failed: broken, whole: reduced(settings[whole])}, table, [])
    text = report(results, 3.2, 2)
    assert text.startswith("1 of 2 settings")
    (row,) = (line for line in text.splitlines() if line.startswith("| coala | 0% | mlp |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")][3:]
    assert cells[WORDS.index(whole.words)] == str(results[whole])
    assert cells[WORDS.index(failed.words)] == "failed"
    name, reason = text.splitlines()[-1].split(": ", 1)
    assert name == "- coala, overlap 0%, mlp, word2vec, fixed"
    assert reason.startswith("WeightsError: The vectors found for word2vec are not those")
