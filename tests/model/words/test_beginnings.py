"""What words begin with: vectors from files or captions, in a vocabulary's order, and chance for the rest."""

from pathlib import Path

import numpy as np
import pytest
import torch

from otoscribe.errors import SettingsError, UsageError, WeightsError
from otoscribe.model.words.base import (
    WORDS,
    Beginning,
    Origin,
    PublishedSettings,
    StaticWords,
    load_words,
    resolved,
    vectors_of,
)
from otoscribe.model.words.cbow import CbowSettings
from otoscribe.text.vocabulary import START, UNKNOWN, Vocabulary
from support.words import CAPTIONS, GOLDEN, ORIGIN, built

VOCABULARY = Vocabulary.from_captions(["a dog barks while rain falls on the roof"])
FILES = {
    "word2vec": "GoogleNews-vectors-negative300.bin",
    "glove": "glove.6B.300d.txt",
    "fasttext": "crawl-300d-2M-subword.bin",
}


def begun(name: str, **chosen: object) -> tuple[Beginning, StaticWords]:
    settings = WORDS[name].Settings(name=name, **chosen)
    beginning = load_words(settings, VOCABULARY.words, ORIGIN)
    words = built(settings, VOCABULARY.words)
    assert beginning is not None
    assert isinstance(words, StaticWords)
    return beginning, words


@pytest.mark.parametrize(("name", "missing"), [("word2vec", ("a", "roof")), ("glove", ("a", "roof"))])
def test_words_without_a_vector_are_named_and_drawn_like_the_others(
    name: str, missing: tuple[str, ...]
) -> None:
    beginning, words = begun(name)
    assert beginning.missing == missing
    found = beginning.values["found"]
    vectors = beginning.values["vectors"]
    assert [word for word, is_in in zip(VOCABULARY.words[4:], found[4:], strict=True) if not is_in] == [
        "a",
        "roof",
    ]
    assert torch.equal(words.table[found], vectors[found])
    others = torch.stack([built(WORDS[name].Settings(name=name), VOCABULARY.words).table[UNKNOWN]
                          for _ in range(2000)])  # fmt: skip
    torch.testing.assert_close(others.mean(), vectors[found].mean(), atol=0.02, rtol=0)
    torch.testing.assert_close(others.std(), vectors[found].std(), atol=0.02, rtol=0)
    assert (words.table[START] == 0).all()


def test_fasttext_has_a_vector_of_words_that_it_does_not_list() -> None:
    beginning, _ = begun("fasttext")
    assert beginning.missing == ()


def test_cbow_learns_from_the_captions_and_nothing_else() -> None:
    beginning, words = begun("cbow", width=12)
    assert beginning.missing == ()
    assert words.table.shape == (len(VOCABULARY), 12)
    assert beginning.values["found"][UNKNOWN]  # "bird" and "sings" are no words of this vocabulary
    alone = load_words(CbowSettings(), VOCABULARY.words, Origin([c.split() for c in CAPTIONS[:1]]))
    assert alone is not None
    assert set(alone.missing) == set(VOCABULARY.words[4:]) - {"a", "dog", "barks"}


def test_cbow_without_gensim_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gensim.models", None)
    with pytest.raises(UsageError, match=r"CBOW needs gensim\. Type: pip install"):
        begun("cbow")


@pytest.mark.parametrize("name", FILES)
def test_settings_name_what_was_found_and_take_nothing_else(name: str, tmp_path: Path) -> None:
    settings = WORDS[name].Settings(name=name)
    assert isinstance(settings, PublishedSettings)
    assert not settings.is_resolved
    beginning, words = begun(name)
    named = resolved(settings, beginning)
    assert named.is_resolved
    assert named.model_dump()["width"] == words.width == 8
    load_words(named, VOCABULARY.words, ORIGIN)
    for changed, what in (
        ({"width": 9}, "width is 8, not 9"),
        ({"weights": f"sha256:{64 * '0'}"}, "weights"),
    ):
        with pytest.raises(WeightsError, match=rf"^The vectors found for {name} are not those .*{what}"):
            load_words(settings.model_copy(update=changed), VOCABULARY.words, ORIGIN)


@pytest.mark.parametrize("name", FILES)
def test_files_lie_where_get_puts_them_or_in_a_folder_with_a_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTOSCRIBE_CACHE", str(tmp_path))
    settings = WORDS[name].Settings(name=name)
    where = tmp_path / "words" / name
    with pytest.raises(
        WeightsError, match=rf"The vectors of {name} are not in {where}\. Type: otoscribe get"
    ):
        load_words(settings, VOCABULARY.words, Origin())
    where.mkdir(parents=True)
    (where / FILES[name]).write_bytes((GOLDEN / FILES[name]).read_bytes())
    found = load_words(settings, VOCABULARY.words, Origin())
    assert found is not None
    assert found.weights == begun(name)[0].weights


def test_vectors_of_another_language_or_of_no_numbers_are_refused() -> None:
    with pytest.raises(WeightsError, match=r"^it has no vector of any word of the captions\."):
        vectors_of({}, VOCABULARY.words, "it")
    with pytest.raises(WeightsError, match=r"^it holds vectors of no numbers\."):
        vectors_of({"dog": np.array([np.nan], np.float32)}, VOCABULARY.words, "it")


def test_a_model_of_unread_files_cannot_be_made() -> None:
    with pytest.raises(SettingsError, match=r"The width of 'glove' is that of its files"):
        WORDS.build("glove", WORDS["glove"].Settings(name="glove"), VOCABULARY.words)


def test_the_hash_covers_every_value() -> None:
    values = {"vectors": torch.zeros(2, 2), "found": torch.ones(2, dtype=torch.bool)}
    hashes = {
        Beginning(values, 2, ()).weights,
        Beginning(values | {"vectors": torch.ones(2, 2)}, 2, ()).weights,
    }
    hashes.add(Beginning(values | {"vectors": torch.zeros(4, 1)}, 2, ()).weights)
    assert len(hashes) == 3
