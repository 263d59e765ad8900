"""Tables of scores: what is read, what is written, and what is refused."""

import math
from pathlib import Path

import pytest

from otoscribe.errors import TableError
from otoscribe.study.scores import Score, ScoreTable, read_scores
from support.made_up_study import PAPER_GRID, paper_scores

HEADER = "encoder,overlap,adapter,words,tuned,seed,spider"


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "scores.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_table_comes_back_to_the_bit(tmp_path: Path) -> None:
    table = paper_scores()
    assert len(PAPER_GRID) == len(set(PAPER_GRID)) == len(table.by_setting) == 264
    assert table.csv().startswith(f"{HEADER}\n")
    assert read_scores(written(tmp_path, table.csv())) == table


def test_odd_values_come_back(tmp_path: Path) -> None:
    odd = ('<script>alert("1")</script>', "a,b|c", "ü\n音", "x" * 500)
    scores = tuple(Score((value, "b"), -1, 1e-300, made_up=value == odd[0]) for value in odd)
    table = ScoreTable(("an axis, quoted", "b"), "my metric", scores)
    assert read_scores(written(tmp_path, table.csv())) == table


def test_what_people_write_is_read(tmp_path: Path) -> None:
    text = "\ufeffkind, seed ,loss,mine,made_up\r\n a ,1,9,0.5,TRUE\r\n\r\nb,1,9,.25,\r\n"
    path = written(tmp_path, text)
    assert read_scores(path) == ScoreTable(
        ("kind",), "mine", (Score(("a",), 1, 0.5, True), Score(("b",), 1, 0.25))
    )
    assert [score.value for score in read_scores(path, "loss").scores] == [9, 9]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"has the columns \(none\); it needs a column for each axis, then seed, then the metric"),
        ("encoder,spider\na,1\n", "has the columns encoder, spider; it needs"),
        ("encoder;seed;spider\n", "has the columns encoder;seed;spider; it needs .* Separate them by commas"),
        (",seed,spider\na,1,1\n", "A column of the scores has no name"),
        ("encoder,seed,\na,1,1\n", "A column of the scores has no name"),
        ("encoder,seed,spider\na,1,-1e101\n", "encoder a, seed 1 scored -1e.101; a score is a number within"),
        (f"encoder,seed,spider\na,{'9' * 5000},1\n", "seed is '9{59}, not a whole number"),
        ("encoder,made_up,seed,spider\na,1,1,1\n", "'made_up' is no axis; move that column behind 'seed'"),
        ("seed,spider\n1,1\n", "no axis: name one or more in columns before 'seed'"),
        ("encoder,seed\na,1\n", "has no metric: it needs a column of scores behind seed"),
        ("encoder,seed,made_up\na,1,no\n", "has no metric"),
        ("encoder,encoder,seed,spider\na,b,1,1\n", "has the column 'encoder' twice"),
        ("encoder,seed,spider\n", "There are no scores"),
        ("encoder,seed,spider\na,1\n", "has 2 fields for 3 columns in line 2"),
        ("encoder,seed,spider\na,1,1\n,2,1\n", "line 3: 'encoder' has no value"),
        ("encoder,seed,spider\na,1,\n", "line 2: 'spider' has no value"),
        ("encoder,seed,spider\na,1,good\n", "line 2: spider is 'good', not a number"),
        ("encoder,seed,spider\na,1,nan\n", "spider is 'nan', not a number"),
        ("encoder,seed,spider\na,1,-inf\n", "spider is '-inf', not a number"),
        ("encoder,seed,spider\na,1.5,1\n", "seed is '1.5', not a whole number"),
        ("encoder,seed,spider,made_up\na,1,1,perhaps\n", "made_up is 'perhaps', not true or false"),
        ("encoder,seed,spider\na,1,1\na,1,2\n", "encoder a, seed 1 is there twice; keep one"),
        ('encoder,seed,spider\n"a,1,1\n', "is not a CSV: .* in line 2"),
        (b"encoder,seed,spider\n\xff,1,1\n", "is not a CSV in UTF-8"),
    ],
)
def test_what_is_no_table_is_refused_in_a_sentence(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(TableError, match=message) as refused:
        read_scores(path)
    assert str(refused.value).startswith(str(path))
    assert str(refused.value).endswith(".")


def test_a_metric_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "encoder,seed,loss,spider\na,1,1,1\n")
    with pytest.raises(TableError, match="no metric 'encoder'; behind seed stand loss, spider"):
        read_scores(path, "encoder")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="There is no"):
        read_scores(tmp_path / "scores.csv")
    with pytest.raises(TableError, match="cannot be read: is a directory"):
        read_scores(tmp_path)


def test_a_table_that_is_made_is_checked_too() -> None:
    with pytest.raises(TableError, match="A setting of 2 axes is not 'a'"):
        ScoreTable(("x", "y"), "m", (Score(("a",), 1, 1.0),))
    with pytest.raises(TableError, match="x a, seed 1 scored nan"):
        ScoreTable(("x",), "m", (Score(("a",), 1, math.nan),))
    with pytest.raises(TableError, match="Two columns of the scores are named 'seed'"):
        ScoreTable(("seed",), "m", (Score(("a",), 1, 1.0),))
