import itertools

import numpy as np
import pytest
from hypothesis import given, settings

from otoscribe.errors import UsageError
from otoscribe.metrics.statistics import Describer, Estimate, bootstrap_weights, interval
from support.evaluated import Evaluated, evaluated_sets, golden


def test_every_resample_draws_as_many_clips_as_there_are() -> None:
    weights = bootstrap_weights(37)
    assert weights.shape == (1000, 37)
    assert weights.dtype == np.float64
    assert (weights >= 0).all()
    assert (weights.sum(axis=1) == 37).all()
    # Each clip is drawn once on average, with the variance of a binomial count.
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.15)
    assert weights.var() == pytest.approx(1 - 1 / 37, abs=0.05)


def test_draws_are_the_same_for_the_same_seed_only() -> None:
    assert np.array_equal(bootstrap_weights(20, 5, seed=3), bootstrap_weights(20, 5, seed=3))
    assert not np.array_equal(bootstrap_weights(20, 5, seed=3), bootstrap_weights(20, 5, seed=4))


def test_the_interval_is_that_of_theory_for_a_mean() -> None:
    values = np.random.default_rng(1).normal(5, 2, 400)
    weights = bootstrap_weights(values.size, 4000)
    low, high = interval(weights @ values / values.size)
    error = values.std() / 20
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)


def test_two_and_a_half_per_cent_lie_on_either_side() -> None:
    assert interval(np.arange(1001.0)[::-1]) == (25.0, 975.0)


def test_one_clip_has_no_interval() -> None:
    weights = bootstrap_weights(1)
    assert weights.shape == (0, 1)
    assert Estimate(0.5, *interval(weights @ np.array([0.5]))) == Estimate(0.5, None, None)


def test_captions_are_described() -> None:
    references = [[list("abc"), list("abcde")], [list("a")]]
    statistics = Describer(references).describe([["a", "x", "x"], ["a"]])
    assert statistics.clips == 2
    assert (statistics.words_mean, statistics.words_median) == (2, 2)
    assert (statistics.words_min, statistics.words_max) == (1, 3)
    assert (statistics.reference_words_mean, statistics.reference_words_median) == (3, 3)
    assert (statistics.reference_words_min, statistics.reference_words_max) == (1, 5)
    assert statistics.distinct_captions == 2
    assert (statistics.vocabulary, statistics.reference_vocabulary) == (2, 5)
    assert statistics.vocabulary_ratio == 2 / 5
    # a, b and c in any case, d and e in half of the draws.
    assert statistics.one_reference_vocabulary == pytest.approx(4)
    assert statistics.one_reference_vocabulary_ratio == pytest.approx(1 / 2)
    assert statistics.unseen_words == 2 / 4


@settings(max_examples=100, deadline=None, derandomize=True)
@given(evaluated_sets())
def test_the_expected_vocabulary_is_the_mean_of_all_draws(evaluated: Evaluated) -> None:
    drawn = [len(set(itertools.chain(*texts))) for texts in itertools.product(*evaluated.references)]
    statistics = Describer(evaluated[1]).describe(evaluated[0])
    assert statistics.one_reference_vocabulary == pytest.approx(np.mean(drawn), abs=1e-9)
    assert (statistics.vocabulary_ratio is None) == (statistics.reference_vocabulary == 0)
    assert (statistics.unseen_words is None) == (statistics.vocabulary == 0)


def test_repeated_captions_count_once() -> None:
    candidates, references = golden()
    statistics = Describer(references).describe([candidates[0]] * len(candidates))
    assert statistics.distinct_captions == 1
    assert statistics.vocabulary == len(set(candidates[0]))


def test_misuse_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one clip"):
        Describer([])
    with pytest.raises(UsageError, match="1 captions for 2 clips"):
        Describer([[["a"]], [["b"]]]).describe([["a"]])
    with pytest.raises(UsageError, match="tokenise the captions first"):
        Describer([[["a"]]]).describe(["a"])
