"""Means, intervals and tests: planted effects come out, none come out of nothing, and textbooks agree."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from otoscribe.errors import UsageError
from otoscribe.study.scores import Score, ScoreTable
from otoscribe.study.statistics import (
    ALPHA,
    Comparison,
    best_by,
    holm,
    paired_tests,
    signed_rank,
    summaries,
)
from support.made_up_study import PAPER_AXES, WORDS, made_up_scores, paper_scores

TUNED = Comparison("tuned", "true", "false", "words")
OVERLAP = Comparison("overlap", "0.5", "0.0", "encoder")


def table_of(scores: dict[tuple[str, ...], list[float]], axes: tuple[str, ...] = ("a", "b")) -> ScoreTable:
    return ScoreTable(
        axes,
        "m",
        tuple(Score(key, at, value) for key, values in scores.items() for at, value in enumerate(values)),
    )


def test_mean_sd_and_interval_by_hand() -> None:
    # 1, 2, 3, 4: mean 2.5, SD sqrt(5/3), and t(0.975; 3) = 3.182446 from tables.
    worse, better = ("x", "1"), ("x", "2")
    first, second = summaries(table_of({worse: [2.0], better: [1, 2, 3, 4]}))
    assert (first.setting, first.mean, first.n, first.made_up) == (better, 2.5, 4, 0)
    assert first.sd == pytest.approx((5 / 3) ** 0.5)
    half = 3.182446 * (5 / 3) ** 0.5 / 2
    assert first.interval == pytest.approx((2.5 - half, 2.5 + half), abs=1e-6)
    assert (second.setting, second.mean, second.n, second.sd, second.interval) == (worse, 2.0, 1, None, None)


def test_intervals_hold_the_mean_as_often_as_they_say() -> None:
    noise = np.random.default_rng(5).normal(0.15, 0.01, (2000, 5))
    found = summaries(table_of({(f"{at}",): list(map(float, row)) for at, row in enumerate(noise)}, ("a",)))
    held = [one.interval is not None and one.interval[0] < 0.15 < one.interval[1] for one in found]
    assert 0.935 < np.mean(held) < 0.965


def test_the_best_setting_of_each_value() -> None:
    table = table_of({("x", "1"): [1.0], ("y", "1"): [5.0], ("x", "2"): [3.0], ("y", "2"): [4.0]})
    assert [one.setting for one in best_by("a", table)] == [("y", "1"), ("x", "2")]
    assert [one.setting for one in best_by("b", table)] == [("y", "1"), ("y", "2")]


def test_wilcoxon_by_hand() -> None:
    # Differences 5, -1, 4, 2, 3, ranked by size: only -1, of rank 1, contradicts. Of the 32 ways to sign
    # five ranks, two have a rank sum of contradictions of 1 or less.
    found = signed_rank([5, 0, 4, 2, 3], [0, 1, 0, 0, 0])
    assert (found["n"], found["statistic"], found["difference"]) == (5, 1, pytest.approx(2.6))
    assert found["p"] == pytest.approx(2 / 32)
    assert found["effect"] == pytest.approx((14 - 1) / 15)


@pytest.mark.parametrize("n", [1, 7, 33, 80])
def test_wilcoxon_is_that_of_scipy(n: int) -> None:
    noise = np.random.default_rng(n)
    high, low = noise.normal(0.152, 0.01, n), noise.normal(0.15, 0.01, n)
    expected = stats.wilcoxon(low, high, alternative="less")
    found = signed_rank(list(high), list(low))
    assert found["statistic"] == expected.statistic
    assert found["p"] == pytest.approx(expected.pvalue, rel=1e-12)
    swapped = signed_rank(list(low), list(high))
    assert swapped["effect"] == pytest.approx(-found["effect"])
    assert swapped["statistic"] + found["statistic"] == n * (n + 1) / 2


def test_the_published_p_follow_from_44_pairs() -> None:
    for statistic, published in [(84, 8.08e-7), (112, 3.92e-6)]:
        n = 44
        spread = (n * (n + 1) * (2 * n + 1) / 24) ** 0.5
        assert stats.norm.cdf((statistic - n * (n + 1) / 4) / spread) == pytest.approx(published, rel=2e-3)


def test_differences_in_the_last_bits_are_none() -> None:
    # 0.1 + 0.2 is 0.30000000000000004: equal to 0.3, and 0.7 - 0.3 as far from it as 0.4 - 0.0.
    found = signed_rank([0.1 + 0.2, 0.7, 0.4], [0.3, 0.1 + 0.2, 0.0])
    assert found["n"] == 2
    assert signed_rank([0.0, 0.7], [0.4, 0.1 + 0.2])["effect"] == 0


def test_no_difference_and_no_pair_are_no_test() -> None:
    found = signed_rank([1, 2], [1, 2])
    assert found == {"n": 0, "difference": 0.0, "statistic": None, "p": None, "effect": None}
    assert signed_rank([], [])["n"] == 0
    assert signed_rank([0.0], [0.0])["p"] is None


def test_holm_by_hand() -> None:
    # Sorted: 0.005 x 4 = 0.02, 0.01 x 3 = 0.03, 0.03 x 2 = 0.06; 0.04 x 1 may not be below 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_planted_effects_come_out() -> None:
    table = paper_scores({"true": 0.006, "coala 0.5": 0.006, "yamnet 0.0": 0.006})
    tests = paired_tests(table, [TUNED, OVERLAP])
    by_value = {test.value: test for test in tests}
    assert list(by_value) == [*WORDS, "coala", "openl3", "vggish", "yamnet"]  # BERT is never tuned
    for words in WORDS:
        test = by_value[words]
        assert (test.pairs, test.n, test.unpaired) == (24, 24, 0)
        assert test.holm is not None
        assert test.holm < ALPHA
        assert test.effect is not None
        assert test.effect > 0.7
        assert test.difference == pytest.approx(0.006, abs=0.002)
    assert (by_value["coala"].pairs, by_value["coala"].n) == (33, 33)
    assert [(test.holm or 0) < ALPHA for test in tests[5:]] == [True, False, False, False]
    yamnet = by_value["yamnet"]  # the claim is one-sided: what is worse is not significant
    assert yamnet.p is not None
    assert yamnet.p > 0.99
    assert yamnet.effect is not None
    assert yamnet.effect < -0.7


@pytest.mark.slow
def test_a_thousand_studies_without_effect_rarely_find_one() -> None:
    settings = list(product(("e1", "e2", "e3"), ("0", "1"), ("a1", "a2", "a3"), ("w1", "w2", "w3", "w4")))
    claim = Comparison("overlap", "1", "0", "encoder")
    effects = {"e2": 0.01, "a1": 0.02, "w3": -0.01}
    p, any_holm = [], 0
    for seed in range(1000):
        axes = ("encoder", "overlap", "adapter", "words")
        tests = paired_tests(made_up_scores(settings, axes, effects, seeds=1, seed=seed), [claim])
        p += [test.p for test in tests]
        any_holm += any((test.holm or 0) < ALPHA for test in tests)
    assert len(p) == 3000
    # Twelve pairs can have 0.046 at most below 0.05; four standard errors of 3000 draws are 0.016.
    assert 0.030 < np.mean(np.array(p) < ALPHA) < 0.062
    # Of 1,000 studies: the chance of any false claim stays below the level.
    assert any_holm / 1000 < 0.070
    assert any_holm > 10  # or nothing would ever come out


def test_pairs_are_setting_means_over_all_other_axes() -> None:
    table = table_of(
        {
            ("x", "1"): [1, 3],  # seeds may differ in number
            ("y", "1"): [1],
            ("x", "2"): [4],
            ("y", "2"): [5, 5, 5],
            ("x", "3"): [9],  # without a partner
        }
    )
    (test,) = paired_tests(table, [Comparison("a", "y", "x")])
    assert (test.value, test.pairs, test.unpaired, test.n) == (None, 2, 1, 2)
    assert (test.difference, test.statistic, test.effect) == (0.0, 1.5, 0.0)
    assert test.smallest_p == 0.25


def test_what_used_made_up_weights_is_marked() -> None:
    scores = [Score(("x", "1"), 1, 1.0), Score(("y", "1"), 1, 2.0, made_up=True)]
    scores += [Score(("x", "2"), 1, 1.0), Score(("y", "2"), 1, 2.0), Score(("z", "2"), 1, 2.0, made_up=True)]
    scores += [Score(("x", "3"), 1, 1.0, made_up=True), Score(("y", "3"), 1, 2.0)]
    tests = paired_tests(ScoreTable(("a", "b"), "m", tuple(scores)), [Comparison("a", "y", "x", "b")])
    assert [(test.value, test.made_up) for test in tests] == [("1", True), ("2", False), ("3", True)]


@pytest.mark.parametrize(
    ("comparison", "message"),
    [
        (Comparison("tunde", "true", "false"), "no axis named 'tunde'. Did you mean 'tuned'"),
        (Comparison("tuned", "true", "false", "world"), "no axis named 'world'"),
        (Comparison("tuned", "yes", "false"), "no value of the axis tuned named 'yes'"),
        (Comparison("tuned", "true", "true"), "tuned true cannot be compared with itself"),
        (Comparison("tuned", "true", "false", "tuned"), "tuned cannot be compared within itself"),
    ],
)
def test_a_comparison_of_what_is_not_there_is_refused(comparison: Comparison, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        paired_tests(paper_scores(seeds=1), [comparison])


def test_axes_are_those_of_the_paper() -> None:
    assert paper_scores(seeds=1).axes == PAPER_AXES
