import random
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings

from otoscribe.errors import UsageError
from otoscribe.metrics.rouge import RougeL
from support.evaluated import GOLDEN, SYSTEMS, Evaluated, evaluated_sets, golden, real_system, stock


@settings(max_examples=200, deadline=None, derandomize=True)
@given(evaluated_sets())
@example(Evaluated([[]], [[[]]]))
@example(Evaluated([[], ["a"], []], [[["a"], []], [[]], [["a", "b"]]]))
def test_equals_the_stock_scorer(evaluated: Evaluated) -> None:
    _, per_clip = stock("rouge.rouge", "Rouge", evaluated)
    scores = RougeL(evaluated.references).score(evaluated.candidates)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, per_clip, rtol=0, atol=1e-12)


def test_golden_scores() -> None:
    evaluated = golden()
    scores = RougeL(evaluated.references).score(evaluated.candidates)
    # The file holds six decimals.
    np.testing.assert_allclose(scores, [item["rouge_l"] for item in GOLDEN["items"]], rtol=0, atol=5.01e-7)
    assert scores.mean() == pytest.approx(GOLDEN["corpus"]["rouge_l"], abs=5.01e-7)


@pytest.mark.parametrize("system", SYSTEMS)
def test_real_systems_on_clotho_evaluation(shared_data: Path, system: str) -> None:
    evaluated, rows = real_system(shared_data, system)
    scores = RougeL(evaluated.references).score(evaluated.candidates)
    np.testing.assert_allclose(scores, [float(row["rouge_l"]) for row in rows], rtol=5.01e-10, atol=1e-15)


def test_precision_and_recall_come_from_different_references() -> None:
    # All of the candidate is in the first reference, all of the second reference is in the candidate.
    scores = RougeL([[list("abxcdyz"), list("bc")]]).score([list("abcd")])
    assert scores.tolist() == [1.0]


def test_texts_longer_than_a_machine_word_equal_the_stock_scorer() -> None:
    draw = random.Random(0)
    lengths = (63, 64, 65, 130, 300)
    texts = [[draw.choice("abcdefgh") for _ in range(length)] for length in lengths]
    evaluated = Evaluated(texts, [[other for other in texts if other is not text] for text in texts])
    _, per_clip = stock("rouge.rouge", "Rouge", evaluated)
    scores = RougeL(evaluated.references).score(evaluated.candidates)
    np.testing.assert_allclose(scores, per_clip, rtol=0, atol=1e-12)


def test_ten_thousand_words_take_no_table_of_their_squares() -> None:
    words = [f"word{i % 3000}" for i in range(10_000)]
    rouge = RougeL([[[*words[:4000], "x", *words[4000:9000]], words[::-1]]])
    began = time.process_time()
    scores = rouge.score([words])
    # A table of 10,000 x 10,000 in Python takes half a minute; this takes some hundredths of a second.
    assert time.process_time() - began < 5
    precision, recall = 9000 / 10_000, 9000 / 9001
    assert scores[0] == pytest.approx(2.44 * precision * recall / (recall + 1.44 * precision), abs=1e-12)


def test_misuse_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one reference for each clip"):
        RougeL([[]])
    with pytest.raises(UsageError, match="1 captions for 2 clips"):
        RougeL([[["a"]], [["b"]]]).score([["a"]])
    with pytest.raises(UsageError, match="tokenise the captions first"):
        RougeL([[["a"]]]).score(["a"])
