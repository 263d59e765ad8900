from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otoscribe.errors import UsageError
from otoscribe.metrics.ngrams import (
    ORDERS,
    Counts,
    Numbering,
    find,
    flattened,
    pair,
    require_one_each,
    require_tokens,
    second,
)
from support.evaluated import Tokens

texts = st.lists(st.lists(st.sampled_from("abcd"), max_size=9), max_size=6)


def grams_of(tokens: Tokens, size: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1))


def check(sentences: list[Tokens], counts: Counts, size: int, names: dict[int, tuple[str, ...]]) -> None:
    """Match entries with n-grams by how often each sentence holds them, and the numbers with `names`."""
    assert counts.sentence.tolist() == sorted(counts.sentence.tolist())
    entries = list(zip(counts.sentence.tolist(), counts.gram.tolist(), counts.times.tolist(), strict=True))
    assert len(set(entries)) == len(entries)
    expected = {
        (place, gram): times
        for place, tokens in enumerate(sentences)
        for gram, times in grams_of(tokens, size).items()
    }
    assert {(place, names[number]): times for place, number, times in entries} == expected


def names_of(sentences: list[Tokens], counts: list[Counts], size: int) -> dict[int, tuple[str, ...]]:
    """Name the numbers of n-grams that sentences of one n-gram each were given."""
    entries = zip(counts[size - 1].sentence.tolist(), counts[size - 1].gram.tolist(), strict=True)
    return {number: tuple(sentences[place]) for place, number in entries}


@settings(max_examples=150, deadline=None, derandomize=True)
@given(texts, st.lists(st.lists(st.sampled_from("abcdxyz"), max_size=9), max_size=6))
def test_every_n_gram_has_one_number_and_its_count(references: list[Tokens], others: list[Tokens]) -> None:
    numbering = Numbering(references)
    assert numbering.lengths.tolist() == [len(tokens) for tokens in references]
    for size in range(1, ORDERS + 1):
        held = [list(gram) for gram in dict.fromkeys(g for t in references for g in grams_of(t, size))]
        new = [list(gram) for gram in dict.fromkeys(g for t in others for g in grams_of(t, size))]
        new = [gram for gram in new if gram not in held]
        lengths, counts = numbering.count([*others, *held, *new])
        assert lengths.tolist() == [len(tokens) for tokens in [*others, *held, *new]]
        names = names_of([*others, *held, *new][len(others) :], _tail(counts, len(others)), size)
        assert len(names) == len(held) + len(new)
        # The references' come first, without a gap.
        assert sorted(number for number, gram in names.items() if list(gram) in held) == [*range(len(held))]
        check(references, numbering.counts[size - 1], size, names)
        check([*others, *held, *new], counts[size - 1], size, names)


def _tail(counts: list[Counts], first: int) -> list[Counts]:
    return [
        Counts(c.sentence[c.sentence >= first] - first, c.gram[c.sentence >= first], c.times) for c in counts
    ]


def test_what_is_counted_leaves_no_trace() -> None:
    numbering = Numbering([["a", "b"]])
    for word in ("c", "d"):
        _, counts = numbering.count([["a", word]])
        assert counts[0].gram.tolist() == [0, 2]
        assert counts[1].gram.tolist() == [1]


def test_pairs_sort_by_the_first_then_the_second() -> None:
    firsts, seconds = np.array([0, 0, 1, 2**31 - 1]), np.array([0, 2**31 - 1, 0, 2**31 - 1])
    pairs = pair(firsts, seconds)
    assert (np.diff(pairs) > 0).all()
    assert second(pairs).tolist() == seconds.tolist()


def test_numbers_are_found_or_not() -> None:
    place, found = find(np.array([2, 4, 4, 7]), np.array([1, 2, 4, 5, 7, 8]))
    assert found.tolist() == [False, True, True, False, True, False]
    assert place[found].tolist() == [0, 1, 3]
    assert not find(np.zeros(0, dtype=np.int64), np.array([1]))[1].any()


def test_references_are_laid_end_to_end() -> None:
    counts, laid = flattened([[["a"], []], [["b", "c"]]])
    assert counts.tolist() == [2, 1]
    assert laid == [["a"], [], ["b", "c"]]


def test_misuse_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one clip"):
        flattened([])
    with pytest.raises(UsageError, match="at least one reference for each clip"):
        flattened([[["a"]], []])
    with pytest.raises(UsageError, match="tokenise the captions first"):
        flattened([["a dog barks"]])
    with pytest.raises(UsageError, match="tokenise the captions first"):
        require_tokens([["a"], "a dog barks"])
    with pytest.raises(UsageError, match="2 captions for 1 clips; give one each"):
        require_one_each([["a"], ["b"]], 1)
    with pytest.raises(UsageError, match="tokenise the captions first"):
        require_one_each(["a dog barks"], 1)
