from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from otoscribe.listen.batching import Limits, batched

limits = st.builds(Limits, st.integers(1, 5), st.floats(1, 50), st.integers(1, 9))
lengths = st.lists(st.one_of(st.just(0.0), st.floats(0.1, 60)), max_size=40)


def padded(batch: list[float]) -> float:
    return sum(1 for seconds in batch if seconds) * max(batch)


@given(lengths, limits)
def test_every_thing_comes_once_in_order_within_the_limits(things: list[float], limit: Limits) -> None:
    batches = list(batched(things, lambda seconds: seconds, limit))
    assert [thing for batch in batches for thing in batch] == things
    for batch in batches:
        clips = sum(1 for seconds in batch if seconds)
        assert 0 < len(batch) <= limit.things
        assert clips <= limit.clips
        assert padded(batch) <= limit.seconds or clips == 1


@given(lengths, limits)
def test_no_batch_could_hold_the_next_thing(things: list[float], limit: Limits) -> None:
    batches = list(batched(things, lambda seconds: seconds, limit))
    for batch, after in pairwise(batches):
        more = [*batch, after[0]]
        clips = sum(1 for seconds in more if seconds)
        full = sum(1 for seconds in batch if seconds) == limit.clips or max(batch) > limit.seconds
        assert full or clips > limit.clips or padded(more) > limit.seconds or len(more) > limit.things


def test_no_more_than_a_batch_is_taken_before_it_is_given() -> None:
    taken = []

    def things() -> object:
        for seconds in (1.0, 0.0, 2.0, 100.0, 1.0):
            taken.append(seconds)
            yield seconds

    batches = batched(things(), lambda seconds: seconds, Limits(clips=2, seconds=50, things=8))
    assert next(batches) == [1.0, 0.0, 2.0]
    assert taken == [1.0, 0.0, 2.0]
    # So long a thing is done at once, and does not wait for others.
    assert next(batches) == [100.0]
    assert taken == [1.0, 0.0, 2.0, 100.0]
