from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings

from otoscribe.errors import UsageError
from otoscribe.metrics.bleu import Bleu
from support.evaluated import GOLDEN, SYSTEMS, Evaluated, evaluated_sets, golden, real_system, stock

NAMES = ["bleu_1", "bleu_2", "bleu_3", "bleu_4"]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(evaluated_sets())
@example(Evaluated([[]], [[[]]]))
@example(Evaluated([[], ["a"], []], [[["a"], []], [[]], [["a", "b"]]]))
def test_equals_the_stock_scorer(evaluated: Evaluated) -> None:
    corpus, per_clip = stock("bleu.bleu", "Bleu", evaluated, verbose=0)
    statistics = Bleu(evaluated.references).statistics(evaluated.candidates)
    ours = statistics.per_clip()
    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours.T, per_clip, rtol=0, atol=1e-12)
    np.testing.assert_allclose(statistics.corpus(), corpus, rtol=0, atol=1e-12)


def test_golden_scores() -> None:
    evaluated = golden()
    statistics = Bleu(evaluated.references).statistics(evaluated.candidates)
    expected = [[item[name] for name in NAMES] for item in GOLDEN["items"]]
    # The file holds six decimals.
    np.testing.assert_allclose(statistics.per_clip(), expected, rtol=0, atol=5.01e-7)
    corpus = [GOLDEN["corpus"][name] for name in NAMES]
    np.testing.assert_allclose(statistics.corpus(), corpus, rtol=0, atol=5.01e-7)


@pytest.mark.parametrize("system", SYSTEMS)
def test_real_systems_on_clotho_evaluation(shared_data: Path, system: str) -> None:
    evaluated, rows = real_system(shared_data, system)
    statistics = Bleu(evaluated.references).statistics(evaluated.candidates)
    expected = [[float(row[name]) for name in NAMES] for row in rows]
    np.testing.assert_allclose(statistics.per_clip(), expected, rtol=5.01e-10, atol=1e-15)


def test_the_corpus_of_a_real_system_equals_the_stock_scorer(shared_data: Path) -> None:
    evaluated, _ = real_system(shared_data, "conette")
    corpus, _ = stock("bleu.bleu", "Bleu", evaluated, verbose=0)
    statistics = Bleu(evaluated.references).statistics(evaluated.candidates)
    np.testing.assert_allclose(statistics.corpus(), corpus, rtol=0, atol=1e-12)


def test_a_weighted_corpus_is_a_corpus_that_repeats_clips() -> None:
    candidates, references = golden()
    drawn = [[0, 0, 3, 7], [19, 2, 2, 2], [5, 6, 7, 8]]
    weights = np.array([np.bincount(clips, minlength=len(candidates)) for clips in drawn], dtype=np.int32)
    statistics = Bleu(references).statistics(candidates)
    expected = [
        Bleu([references[clip] for clip in clips]).statistics([candidates[clip] for clip in clips]).corpus()
        for clips in drawn
    ]
    assert np.array_equal(statistics.corpus(weights), expected)
    assert statistics.corpus(weights[:0]).shape == (0, 4)


def test_the_closest_reference_counts_and_of_two_the_shorter() -> None:
    bleu = Bleu([[list("abcdef"), list("ab")], [list("abc"), list("abcdefg")]])
    statistics = bleu.statistics([list("abcd"), list("abcdef")])
    assert statistics.closest.tolist() == [2, 7]


def test_a_very_long_caption_is_scored() -> None:
    words = [f"word{i % 300}" for i in range(10_000)]
    evaluated = Evaluated([words, ["a"]], [[["word1", "word2"], words[::-1]], [["a"], words]])
    corpus, per_clip = stock("bleu.bleu", "Bleu", evaluated, verbose=0)
    statistics = Bleu(evaluated.references).statistics(evaluated.candidates)
    np.testing.assert_allclose(statistics.per_clip().T, per_clip, rtol=0, atol=1e-12)
    np.testing.assert_allclose(statistics.corpus(), corpus, rtol=0, atol=1e-12)


def test_what_is_scored_leaves_no_trace() -> None:
    candidates, references = golden()
    bleu = Bleu(references)
    before = bleu.statistics(candidates).per_clip()
    bleu.statistics([["unheard", *caption] for caption in candidates])
    assert np.array_equal(bleu.statistics(candidates).per_clip(), before)


def test_misuse_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one reference for each clip"):
        Bleu([[]])
    with pytest.raises(UsageError, match="1 captions for 2 clips"):
        Bleu([[["a"]], [["b"]]]).statistics([["a"]])
    with pytest.raises(UsageError, match="tokenise the captions first"):
        Bleu([[["a"]]]).statistics(["a"])
