from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otoscribe.errors import BundleError, UsageError
from otoscribe.search.beam import Hypothesis, search
from otoscribe.search.options import Search
from otoscribe.search.rules import AnyOf, Must, Never
from otoscribe.text.vocabulary import END
from support.table_stepper import Prefix, TableStepper, random_table


def forbidden(prefix: Prefix, size: int) -> set[int]:
    grams = [prefix[i : i + size] for i in range(len(prefix) - size + 1)]
    return {gram[-1] for gram in grams if gram[:-1] == prefix[len(prefix) - size + 1 :]} if size else set()


def allowed(prefix: Prefix, vocabulary: int, chosen: Search) -> list[int]:
    """Say by the rules as written which tokens may follow."""
    words = set(range(END + 2, vocabulary)) - forbidden(prefix, chosen.no_repeat)
    if len(prefix) == chosen.maximum_words or not words:
        return [END]
    return sorted(words | ({END} if len(prefix) >= chosen.minimum_words else set()))


def every_caption(
    table: Any, clip: int, vocabulary: int, chosen: Search
) -> list[tuple[Prefix, float, float]]:
    captions = []

    def extend(prefix: Prefix, total: float) -> None:
        following = table(clip, prefix)
        for token in allowed(prefix, vocabulary, chosen):
            reached = total + float(following[token])
            if token == END:
                captions.append((prefix, reached, reached / (len(prefix) + 1) ** chosen.length_normalisation))
            else:
                extend((*prefix, token), reached)

    extend((), 0.0)
    return sorted(captions, key=lambda caption: -caption[2])


searches = st.builds(
    lambda beam, candidates, maximum, minimum, alpha, no_repeat: Search(
        beam=beam,
        candidates=min(beam, candidates),
        maximum_words=maximum,
        minimum_words=min(minimum, maximum),
        length_normalisation=alpha,
        no_repeat=no_repeat,
    ),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(1, 7),
    st.integers(0, 7),
    st.sampled_from([0.0, 0.6, 1.0, 2.0]),
    st.integers(0, 3),
)
seeds = st.integers(0, 10**6)
quick = settings(max_examples=60, deadline=None, derandomize=True)


@quick
@given(seeds, st.integers(1, 80), st.integers(0, 3), st.sampled_from([0.0, 0.7, 1.0, 3.0]), st.integers(0, 2))
def test_a_beam_with_room_for_all_is_exhaustive(
    seed: int, candidates: int, minimum: int, alpha: float, no_repeat: int
) -> None:
    chosen = Search(
        beam=100,
        candidates=candidates,
        maximum_words=3,
        minimum_words=minimum,
        length_normalisation=alpha,
        no_repeat=no_repeat,
    )
    table = random_table(seed, vocabulary=8)
    for clip, found in enumerate(search(TableStepper(table, [0, 1]), chosen)):
        expected = every_caption(table, clip, 8, chosen)[:candidates]
        assert [(h.tokens, h.log_probability, h.score) for h in found] == expected


@quick
@given(seeds, st.integers(1, 12), st.sampled_from([0.0, 1.0]))
def test_a_beam_of_one_is_the_argmax_loop(seed: int, maximum: int, alpha: float) -> None:
    table = random_table(seed, vocabulary=9)
    chosen = Search(beam=1, maximum_words=maximum, length_normalisation=alpha)
    prefix: Prefix = ()
    while True:
        options = allowed(prefix, 9, chosen)
        token = options[int(np.argmax(table(0, prefix)[options]))]
        if token == END:
            break
        prefix = (*prefix, token)
    [[found]] = search(TableStepper(table, [0]), chosen)
    assert found.tokens == prefix


def one_at_a_time(table: Any, clip: int, vocabulary: int, chosen: Search) -> list[Prefix]:
    """Beam search in loops over one clip, without stopping early: the definition in slow motion."""
    live: list[tuple[float, Prefix]] = [(0.0, ())]
    done: list[tuple[float, Prefix]] = []
    while live:
        continued = [
            (total + float(table(clip, prefix)[token]), prefix, token)
            for total, prefix in live
            for token in allowed(prefix, vocabulary, chosen)
        ]
        continued = sorted(continued, key=lambda c: -c[0])[: chosen.beam - len(done)]
        for total, prefix, token in continued:
            if token == END:
                done.append((total / (len(prefix) + 1) ** chosen.length_normalisation, prefix))
        live = [(total, (*prefix, token)) for total, prefix, token in continued if token != END]
    return [prefix for _, prefix in sorted(done, key=lambda d: -d[0])][: chosen.candidates]


@quick
@given(seeds, searches)
def test_equals_the_loop_that_never_stops_early(seed: int, chosen: Search) -> None:
    table = random_table(seed, vocabulary=7)
    for clip, found in enumerate(search(TableStepper(table, [0, 1, 2]), chosen)):
        assert [h.tokens for h in found] == one_at_a_time(table, clip, 7, chosen)


@quick
@given(seeds, searches)
def test_ties_fall_to_the_earlier_row_and_the_lower_token(seed: int, chosen: Search) -> None:
    def table(clip: int, prefix: Prefix) -> np.ndarray:
        # Halves and quarters only: equal sums are frequent and exact.
        return np.random.default_rng([seed, clip, *prefix]).choice([-0.5, -0.25], 7).astype(np.float32)

    for clip, found in enumerate(search(TableStepper(table, [0, 1, 2]), chosen)):
        assert [h.tokens for h in found] == one_at_a_time(table, clip, 7, chosen)


@quick
@given(seeds, st.integers(9, 300), st.sampled_from([1.0, 40.0]), searches)
def test_many_words_are_searched_as_one_by_one(
    seed: int, vocabulary: int, sharpness: float, chosen: Search
) -> None:
    table = random_table(seed, vocabulary, sharpness)
    short = chosen.model_copy(update={"maximum_words": 3, "minimum_words": min(chosen.minimum_words, 3)})
    for clip, found in enumerate(search(TableStepper(table, [0, 1]), short)):
        assert [h.tokens for h in found] == one_at_a_time(table, clip, vocabulary, short)


@quick
@given(seeds, searches)
def test_a_batch_gives_what_each_clip_gives_alone(seed: int, chosen: Search) -> None:
    table = random_table(seed, vocabulary=10)
    alone = [search(TableStepper(table, [clip]), chosen)[0] for clip in range(5)]
    assert search(TableStepper(table, list(range(5))), chosen) == alone


@quick
@given(seeds, searches)
def test_log_probabilities_are_those_of_the_tokens(seed: int, chosen: Search) -> None:
    table = random_table(seed, vocabulary=8)
    [found] = search(TableStepper(table, [3]), chosen)
    assert 1 <= len(found) <= chosen.candidates
    for h in found:
        tokens = (*h.tokens, END)
        parts = [float(table(3, tokens[:i])[token]) for i, token in enumerate(tokens)]
        assert h.token_log_probabilities == tuple(parts)
        assert h.log_probability == pytest.approx(sum(parts), abs=1e-12)
        assert h.score == h.log_probability / len(tokens) ** chosen.length_normalisation
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
    assert len({h.tokens for h in found}) == len(found)


@quick
@given(seeds, searches)
def test_captions_keep_the_rules(seed: int, chosen: Search) -> None:
    # Twelve words outlast any ban here, so nothing has to end early.
    table = random_table(seed, vocabulary=16)
    for h in search(TableStepper(table, [0]), chosen)[0]:
        assert chosen.minimum_words <= len(h.tokens) <= chosen.maximum_words
        assert all(token > 3 for token in h.tokens)
        size = chosen.no_repeat
        grams = [h.tokens[i : i + size] for i in range(len(h.tokens) - size + 1)] if size else []
        assert len(set(grams)) == len(grams)


def fixed(*rows: list[float]) -> Any:
    """Return a table by number of words so far; the last row repeats."""
    return lambda clip, prefix: np.array(rows[min(len(prefix), len(rows) - 1)], dtype=np.float32)


def test_the_maximum_forces_the_end_at_its_true_log_probability() -> None:
    table = fixed([-9, -9, -7, -9, -0.5, -2])
    [[found]] = search(TableStepper(table, [0]), Search(beam=1, maximum_words=3))
    assert found == Hypothesis((4, 4, 4), -8.5, -8.5, (-0.5, -0.5, -0.5, -7.0))


def test_a_caption_that_nothing_may_continue_ends_below_the_minimum() -> None:
    table = fixed([-9, -9, -1, -9, -2, -3])
    chosen = Search(beam=2, candidates=2, maximum_words=9, minimum_words=5, no_repeat=1)
    [found] = search(TableStepper(table, [0]), chosen)
    assert [h.tokens for h in found] == [(4, 5), (5, 4)]


def test_the_search_stops_when_no_live_caption_can_beat_the_finished_one() -> None:
    # Ending after one word costs 0.96 in all. Going on costs 0.1 a word and 9 for the end, so it loses by its
    # sum as soon as ten more words are spoken, and wins by the mean if thirty are.
    table = fixed([-99, -99, -99, -99, -0.01], [-99, -99, -0.95, -99, -0.1], [-99, -99, -9, -99, -0.1])
    stepper = TableStepper(table, [0])
    [[found]] = search(stepper, Search(beam=2))
    assert found.tokens == (4,)
    assert len(stepper.rows_stepped) == 11
    [[found]] = search(TableStepper(table, [0]), Search(beam=2, length_normalisation=1))
    assert found.tokens == (4,) * 30


def test_finished_clips_leave_the_batch_and_lines_shrink() -> None:
    def table(clip: int, prefix: Prefix) -> np.ndarray:
        ends = len(prefix) > clip
        return np.array([-9, -9, -0.1 if ends else -20, -9, -8 if ends else -0.5, -9], dtype=np.float32)

    stepper = TableStepper(table, [0, 2, 4])
    found = search(stepper, Search(beam=1, maximum_words=9))
    assert [len(h.tokens) for [h] in found] == [1, 3, 5]
    assert stepper.rows_stepped == [(3, 1), (3, 1), (2, 1), (2, 1), (1, 1), (1, 1)]


def test_finished_captions_give_back_their_rows() -> None:
    table = fixed([-9, -9, -9, -9, -0.5, -0.6], [-9, -9, -0.1, -9, -5, -5])
    stepper = TableStepper(table, [0])
    search(stepper, Search(beam=3, candidates=3, maximum_words=4))
    beams = [beam for _, beam in stepper.rows_stepped]
    assert beams == [1, 2, 1]


def test_impossible_words_never_fill_a_beam() -> None:
    table = fixed([-inf, -inf, -2, -inf, -1, -inf], [-inf, -inf, 0, -inf, -inf, -inf])
    [found] = search(TableStepper(table, [0]), Search(beam=5, candidates=5))
    assert [h.tokens for h in found] == [(4,)]


def test_further_rules_forbid_what_they_say() -> None:
    table = fixed([-9, -9, -1, -9, -0.5, -2, -3], [-9, -9, -0.1, -9, -2, -2, -3])
    stepper = TableStepper(table, [0])
    plain = Search(beam=4, maximum_words=5)
    assert search(stepper, plain)[0][0].tokens == (4,)
    assert search(stepper, plain, [Never((4,))])[0][0].tokens == (5,)
    assert search(stepper, plain, [Must((6, 5), by=3)])[0][0].tokens == (4, 5, 6)
    assert search(stepper, plain, [AnyOf((5, 6))])[0][0].tokens == (5,)
    # What must be said and never can be is given up.
    assert search(stepper, plain, [Must((6,), by=2), Never((6,))])[0][0].tokens == (4,)


@given(st.lists(st.integers(4, 9), min_size=1, max_size=3, unique=True), seeds)
def test_what_must_be_said_is_said(words: list[int], seed: int) -> None:
    chosen = Search(beam=3, maximum_words=6)
    for rule in (Must(tuple(words), by=len(words)), Must(tuple(words), by=6)):
        [[found]] = search(TableStepper(random_table(seed, 10), [0]), chosen, [rule])
        assert set(words) <= set(found.tokens[: rule.by])


@given(st.lists(st.integers(4, 9), min_size=1, max_size=3, unique=True), seeds)
def test_any_of_some_words_is_said_where_there_is_time(words: list[int], seed: int) -> None:
    chosen = Search(beam=60, candidates=60, maximum_words=2)
    table = random_table(seed, 10)
    [found] = search(TableStepper(table, [0]), chosen, [AnyOf(tuple(words))])
    [every] = search(TableStepper(table, [0]), chosen)
    said = [one.tokens for one in every if set(words) & set(one.tokens) or len(one.tokens) == 2]
    assert [one.tokens for one in found] == said


def test_no_clips_give_no_captions() -> None:
    assert search(TableStepper(None, []), Search()) == []


@pytest.mark.parametrize(("place", "maximum"), [(END, 1), (END, 30), (5, 30)])
def test_log_probabilities_that_are_not_numbers_are_refused(place: int, maximum: int) -> None:
    table = fixed([-1.0] * 6, [np.nan if token == place else -1.0 for token in range(6)])
    with pytest.raises(BundleError, match="after 1 words are not numbers"):
        search(TableStepper(table, [0]), Search(maximum_words=maximum))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"beam": 0}, "beam must be a whole number from 1 to 1000, not 0"),
        ({"beam": 1001}, "beam must be a whole number from 1 to 1000, not 1001"),
        ({"beam": 2.0}, "beam must be a whole number from 1 to 1000, not 2.0"),
        ({"candidates": True}, "candidates must be a whole number from 1 to 1000, not True"),
        ({"maximum_words": 0}, "maximum_words must be a whole number from 1 to 1000"),
        ({"minimum_words": -1}, "minimum_words must be a whole number from 0 to 1000"),
        ({"no_repeat": -2}, "no_repeat must be a whole number from 0 to 1000"),
        ({"length_normalisation": -0.1}, "length_normalisation must be a number from 0 to 10, not -0.1"),
        (
            {"length_normalisation": float("nan")},
            "length_normalisation must be a number from 0 to 10, not nan",
        ),
        ({"length_normalisation": "1"}, "length_normalisation must be a number from 0 to 10, not '1'"),
        ({"candidates": 5}, "A beam of 4 cannot give 5 candidates: set beam to 5 or more"),
        ({"minimum_words": 31}, r"minimum_words \(31\) exceeds maximum_words \(30\)"),
    ],
)
def test_impossible_settings_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Search(**values)


@pytest.mark.parametrize(
    "rule",
    [
        Never((-1,)),
        Never((10,)),
        Never(("dog",)),
        Must((3,), by=3),
        Must((-1,), by=3),
        Must((10,), by=3),
        AnyOf((10,)),
    ],
)
def test_rules_name_words_that_there_are(rule: Any) -> None:
    with pytest.raises(UsageError, match=r"names words by their ids, from [04] to 9, not"):
        search(TableStepper(random_table(0, 10), [0]), Search(), [rule])
