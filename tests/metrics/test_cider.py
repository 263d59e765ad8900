import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from otoscribe.errors import UsageError
from otoscribe.metrics.cider import CiderD
from support.evaluated import GOLDEN, SYSTEMS, Evaluated, Tokens, evaluated_sets, golden, real_system, stock


def grams_of(tokens: Tokens) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[i : i + n]) for n in range(1, 5) for i in range(len(tokens) - n + 1))


def slow_cider(references: list[list[Tokens]], clip: int, candidate: Tokens) -> float:
    """Score one caption by the definition, in loops."""
    holding = Counter(gram for texts in references for gram in {g for text in texts for g in grams_of(text)})

    def weights(tokens: Tokens, n: int) -> dict[tuple[str, ...], float]:
        return {
            gram: times * math.log(len(references) / max(1, holding[gram]))
            for gram, times in grams_of(tokens).items()
            if len(gram) == n
        }

    total = 0.0
    for reference in references[clip]:
        difference = max(len(candidate) - 1, 0) - max(len(reference) - 1, 0)
        for n in range(1, 5):
            ours, theirs = weights(candidate, n), weights(reference, n)
            norm = math.hypot(*ours.values()) * math.hypot(*theirs.values())
            dot = sum(
                min(weight, theirs[gram]) * theirs[gram] for gram, weight in ours.items() if gram in theirs
            )
            total += (dot / norm if norm else 0) * math.exp(-(difference**2) / 72) / 4
    return 10 * total / len(references[clip])


texts = st.lists(st.sampled_from("abcde"), max_size=9)
sets = st.lists(st.lists(texts, min_size=1, max_size=4), min_size=1, max_size=5)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(sets, st.data())
def test_equals_the_definition(references: list[list[Tokens]], data: st.DataObject) -> None:
    # Letters f and g are in no reference.
    spoken = st.lists(st.sampled_from("abcdefg"), max_size=9)
    pairs = data.draw(st.lists(st.tuples(st.integers(0, len(references) - 1), spoken), max_size=6))
    scores = CiderD(references).score_against([clip for clip, _ in pairs], [text for _, text in pairs])
    expected = [slow_cider(references, clip, text) for clip, text in pairs]
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-12)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(evaluated_sets())
def test_equals_the_stock_scorer(evaluated: Evaluated) -> None:
    # The stock scorer stops where no reference holds a word.
    assume(any(text for texts in evaluated.references for text in texts))
    corpus, per_clip = stock("cider.cider", "Cider", evaluated)
    mean, scores = CiderD(evaluated.references).score(evaluated.candidates)
    np.testing.assert_allclose(scores, per_clip, rtol=0, atol=1e-12)
    assert mean == pytest.approx(corpus, abs=1e-12)


def test_golden_scores() -> None:
    evaluated = golden()
    mean, scores = CiderD(evaluated.references).score(evaluated.candidates)
    # The file holds six decimals.
    np.testing.assert_allclose(scores, [item["cider_d"] for item in GOLDEN["items"]], rtol=0, atol=5.01e-7)
    assert mean == pytest.approx(GOLDEN["corpus"]["cider_d"], abs=5.01e-7)


@pytest.mark.parametrize("system", SYSTEMS)
def test_real_systems_on_clotho_evaluation(shared_data: Path, system: str) -> None:
    evaluated, rows = real_system(shared_data, system)
    _, scores = CiderD(evaluated.references).score(evaluated.candidates)
    np.testing.assert_allclose(scores, [float(row["cider_d"]) for row in rows], rtol=5.01e-10, atol=1e-15)


def test_a_very_long_caption_is_scored() -> None:
    words = [f"word{i % 300}" for i in range(10_000)]
    evaluated = Evaluated(
        [words, ["a"], words[::-1]], [[["word1", "word2"], words[5:]], [["a"], words], [["b"]]]
    )
    corpus, per_clip = stock("cider.cider", "Cider", evaluated)
    mean, scores = CiderD(evaluated.references).score(evaluated.candidates)
    assert scores[0] > 1
    np.testing.assert_allclose(scores, per_clip, rtol=0, atol=1e-12)
    assert mean == pytest.approx(corpus, abs=1e-12)


def test_references_without_a_word_score_zero() -> None:
    assert CiderD([[[]], [[], []]]).score([["a"], []])[1].tolist() == [0, 0]


def test_a_caption_equal_to_all_references_scores_ten() -> None:
    scorer = CiderD([[list("abcd")] * 3, [list("efgh")]])
    mean, scores = scorer.score([list("abcd"), list("efgh")])
    np.testing.assert_allclose(scores, [10, 10])
    assert mean == pytest.approx(10)
    assert scorer.score([list("efgh"), []])[0] == 0


def test_scores_do_not_depend_on_what_is_scored_beside() -> None:
    captions, references = golden()
    scorer = CiderD(references)
    _, together = scorer.score(captions)
    again = scorer.score_against([3, 0, 3], [["unheard", *captions[3]], captions[0], captions[3]])
    assert again[1:].tolist() == together[[0, 3]].tolist()
    assert scorer.score_against([], []).shape == (0,)


def test_misuse_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one clip"):
        CiderD([])
    with pytest.raises(UsageError, match="at least one reference for each clip"):
        CiderD([[["a"]], []])
    with pytest.raises(UsageError, match="tokenise the captions first"):
        CiderD([["a dog barks"]])
    scorer = CiderD([[["a"]], [["b"]]])
    with pytest.raises(UsageError, match="tokenise the captions first"):
        scorer.score(["a", "b"])
    with pytest.raises(UsageError, match="1 captions for 2 clips"):
        scorer.score([["a"]])
    with pytest.raises(UsageError, match="1 captions need as many clip indices, not 2"):
        scorer.score_against([0, 1], [["a"]])
    for clip in (-1, 2):
        with pytest.raises(UsageError, match="Clip indices go from 0 to 1"):
            scorer.score_against([clip], [["a"]])
