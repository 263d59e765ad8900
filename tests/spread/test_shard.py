"""Lists cut up: nothing is left out, nothing is there twice, and nothing changes its place."""

import pytest

from otoscribe.errors import UsageError
from otoscribe.spread.shard import Shard, grouped


@pytest.mark.parametrize("length", [0, 1, 5, 16, 100])
@pytest.mark.parametrize("of", [1, 3, 16, 40])
def test_shares_share_out_all_evenly_and_in_order(length: int, of: int) -> None:
    things = list(range(length))
    shares = [Shard.read(f"{number}/{of}").share(things) for number in range(1, of + 1)]
    assert [thing for share in shares for thing in share] == things
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "x", "", "3", "/", "1/0", "-1/3", "1/3/5", "1.0/3", "1 /3"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no share\. Write NUMBER/OF, from 1/16 to 16/16"):
        Shard.read(text)


def test_groups_are_full_but_the_last() -> None:
    assert grouped("abcdefg", 3) == ["abc", "def", "g"]
    assert grouped("abc", 3) == ["abc"]
    assert grouped("", 3) == []
