import csv
import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otoscribe.cli.formats import as_csv
from otoscribe.errors import TableError
from otoscribe.listen.captioner import Candidate, Caption, Failure
from otoscribe.text.tables import Captions, read_candidates, read_references

Read = Callable[[Path], Captions]
both = pytest.mark.parametrize("read", [read_candidates, read_references])


def written(folder: Path, data: str | bytes, name: str = "captions.csv") -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_references_in_the_layout_of_clotho(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "keywords,file_name,caption_10,caption_1,caption_2,caption_x,caption\r\n"
        'rain,"Rain, heavy.wav",It pours,"Rain falls, hard", ,x,y\r\n'
        "\r\n"
        'dog,b.wav,Last,"A ""dog""\r\nbarks",  It barks \r\n'
        "none,0012,,one\r\n",
    )
    assert list(read_references(path).items()) == [
        ("Rain, heavy.wav", ("Rain falls, hard", "It pours")),
        ("b.wav", ('A "dog"\r\nbarks', "It barks", "Last")),
        ("0012", ("one",)),
    ]


def test_candidates_of_a_captioner(tmp_path: Path) -> None:
    path = written(tmp_path, 'caption,file_name,score\nA dog,b.wav,1\n  ,a.wav,2\n"a, b",\' c ,\n')
    assert list(read_candidates(path).items()) == [
        ("b.wav", ("A dog",)),
        ("a.wav", ("",)),
        ("' c ", ("a, b",)),
    ]


def test_an_empty_candidate_stays_but_not_what_fills_up_a_table(tmp_path: Path) -> None:
    path = written(tmp_path, "file_name,caption_2,caption_1\na,second,first\nb,,only\nc, ,\nd,second,\n")
    # Else the second best caption would be scored as the best.
    assert read_candidates(path) == {
        "a": ("first", "second"),
        "b": ("only",),
        "c": ("",),
        "d": ("", "second"),
    }


def test_one_table_may_hold_candidates_beside_references(tmp_path: Path) -> None:
    path = written(tmp_path, "file_name,caption,caption_1,caption_2\na,ours,theirs,also theirs\n")
    assert read_candidates(path) == {"a": ("ours",)}
    assert read_references(path) == {"a": ("theirs", "also theirs")}


def test_what_the_caption_command_writes_is_read(tmp_path: Path) -> None:
    def caption(file: str, *texts: str) -> Caption:
        return Caption(file, 1.0, tuple(Candidate(text, -1.0, 0.5, ()) for text in texts))

    results = [
        caption("/rec/b.wav", "a dog", "", "a cat"),
        caption("a.wav", ""),
        caption(r"C:\rec\c.wav", "x"),
    ]
    path = written(tmp_path, "".join(as_csv(results)))
    assert list(read_candidates(path).items()) == [
        ("/rec/b.wav", ("a dog", "", "a cat")),
        ("a.wav", ("",)),
        (r"C:\rec\c.wav", ("x",)),
    ]
    failed = [Failure("a.wav", "a.wav holds no sound."), *results, Failure("rec/d.wav", "d.wav is empty.")]
    path = written(tmp_path, "".join(as_csv(failed)))
    # What was captioned again and joined is captioned.
    assert read_candidates(path) == {
        "a.wav": ("",),
        "/rec/b.wav": ("a dog", "", "a cat"),
        r"C:\rec\c.wav": ("x",),
        "rec/d.wav": (),
    }


def test_ranks_order_the_candidates_of_a_file(tmp_path: Path) -> None:
    path = written(tmp_path, "file,caption,rank\na.wav,tenth,10\nb.wav,x,1\na.wav,second,2\n")
    assert read_candidates(path) == {"a.wav": ("second", "tenth"), "b.wav": ("x",)}
    assert read_candidates(written(tmp_path, "file,caption\nr/a.wav,x\nb.wav,y\n")) == {
        "r/a.wav": ("x",),
        "b.wav": ("y",),
    }


def test_json_lines(tmp_path: Path) -> None:
    lines = [
        {
            "file_name": "b",
            "caption": " A dog ",
            "caption_1": "r",
            "caption_2": None,
            "seconds": 3,
            "more": {},
        },
        {"file_name": "a\u2028", "caption": None, "captions": ["one", " ", "two", None]},
        {"file_name": "é", "caption": "c\u2028d", "caption_3": "three", "caption_1": "one"},
    ]
    for ascii_only in (True, False):
        text = "\n\n".join(json.dumps(line, ensure_ascii=ascii_only) for line in lines) + "\r\n \n"
        path = written(tmp_path, text, "captions.jsonl")
        assert read_candidates(path) == {"b": ("A dog",), "a\u2028": ("",), "é": ("c\u2028d",)}
        assert read_references(path) == {"b": ("r",), "a\u2028": ("one", "two"), "é": ("one", "three")}


def test_a_list_of_candidates_may_be_empty(tmp_path: Path) -> None:
    path = written(tmp_path, '{"file_name": "a", "captions": []}', "captions.jsonl")
    assert read_candidates(path) == {"a": ("",)}
    with pytest.raises(TableError, match=r"has no caption for a; write one"):
        read_references(path)


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.csv", "file_name,caption_1\na,b\n"),
        ("c.CSV", "file_name,caption_1\ra,b\r"),
        ("c", 'file_name,caption_1\r\n"a","b"'),
        ("c.txt", "file_name,caption_1\na,b\n"),
        ("c.jsonl", '{"file_name": "a", "caption_1": "b"}'),
        ("c.ndjson", '{"file_name": "a", "captions": ["b"]}\r\n'),
        ("c", ' \n{"file_name": "a", "captions": ["b"]}'),
    ],
)
def test_the_name_or_else_the_content_tells_the_format(
    tmp_path: Path, name: str, text: str, bom: bytes
) -> None:
    path = written(tmp_path, bom + text.encode(), name)
    assert read_references(path) == read_candidates(path) == {"a": ("b",)}


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
tables = st.dictionaries(
    names, st.lists(names.map(str.strip).filter(bool), min_size=1, max_size=4), min_size=1
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(tables)
def test_any_text_comes_back_from_either_format(
    tmp_path_factory: pytest.TempPathFactory, table: dict[str, list[str]]
) -> None:
    file = io.StringIO(newline="")
    rows = csv.writer(file, quoting=csv.QUOTE_ALL)
    width = max(map(len, table.values()))
    rows.writerow(["file_name", *(f"caption_{i}" for i in range(1, width + 1))])
    rows.writerows([name, *captions, *[""] * (width - len(captions))] for name, captions in table.items())
    lines = "\n".join(
        json.dumps({"file_name": n, "captions": c}, ensure_ascii=False) for n, c in table.items()
    )
    folder = tmp_path_factory.getbasetemp()
    for path in (written(folder, file.getvalue(), "any.csv"), written(folder, lines, "any.jsonl")):
        expected = [(name, tuple(captions)) for name, captions in table.items()]
        assert list(read_references(path).items()) == expected
        assert list(read_candidates(path).items()) == expected


def test_a_caption_of_ten_thousand_words(tmp_path: Path) -> None:
    caption = " ".join(["rumbling"] * 10_000)
    path = written(tmp_path, f"file_name,caption_1\na,{caption}\n")
    assert read_references(path) == {"a": (caption,)}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", r"lists no recordings"),
        (",\n", r"has the columns , ; it needs file_name \(or "),
        ("\nfile_name,caption_1\n", r"has the columns \(none\); it needs file_name \(or "),
        ("file;caption_1\n", r"has the columns file;caption_1; it needs file_name \(or "),
        ("caption_1\nx\n", r"has the columns caption_1; it needs"),
        ("file_name,caption_a\n", r"has the columns file_name, caption_a; it needs"),
        ("file_name,caption_1\n", r"lists no recordings"),
        ("file_name,caption_1\n\n\n", r"lists no recordings"),
        ("file_name,caption_1,file_name\na,b,c\n", r"has the column file_name 2 times; rename or remove"),
        (
            "file_name,caption_1\na,x\nb,x\na,x\n",
            r"lists a twice, in line 2 and line 4; list each recording once",
        ),
        ('file_name,caption_1\na,"x\ny"\na,x\n', r"lists a twice, in line 2 and line 4"),
        (
            "file_name,caption_1\na,x,y\n",
            r"has 3 fields for 2 columns in line 2; a caption that holds a comma",
        ),
        ("file_name,caption_1\n,x\n", r"has no file_name in line 2; write it"),
        (
            'file_name,caption_1\na,b\nc,"d\n\n',
            r"is not a CSV in UTF-8: unexpected end of data, in line 3\. Save",
        ),
        ('file_name,caption_1\na,"b"c\n', r"is not a CSV in UTF-8: ',' expected after '\"', in line 2"),
        (f"file_name,caption_1\na,{'x' * 200_000}\n", r"field larger than field limit \(131072\), in line 2"),
        (
            b"file_name,caption_1\na,\xe9t\xe9\n",
            r"is not a CSV in UTF-8: byte 0xe9, in line 2\. Save it as one",
        ),
        ("file_name,caption_1\na,b\n".encode("utf-16"), r"is not a CSV in UTF-8: a NUL character, in line 1"),
        ("file_name,caption_1\na,b\nc,d\0\n", r"is not a CSV in UTF-8: a NUL character, in line 3"),
        ("x" * 3000, r"has the columns x{200} \.\.\.; it needs"),
    ],
)
@both
def test_a_csv_that_cannot_be_used_is_told(
    tmp_path: Path, read: Read, data: str | bytes, message: str
) -> None:
    path = written(tmp_path, data)
    with pytest.raises(TableError, match=message) as raised:
        read(path)
    assert str(raised.value).startswith(f"{path} ")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", r"lists no recordings"),
        ("\n \n", r"lists no recordings"),
        (
            '{"file_name": "a", "captions": ["b"]}\n{"file_name"',
            r"is not JSON in UTF-8: Expecting ':' .*line 2",
        ),
        ("[\n{}\n]", r"has the keys \(none\) in entry 1"),
        ("[]", r"lists no recordings"),
        ("[[]]", r"has no JSON object in entry 1; write one for each recording"),
        ("[\n{}", r"is not JSON in UTF-8: Expecting ',' delimiter, in line 2"),
        ('"a"', r"has no JSON object in line 1"),
        ("[" * 100_000, r"is not JSON in UTF-8: .*in line 1"),
        ('{"file_name": "a", "x": 1, "x": 2}', r"a key stands twice in one object, in line 1"),
        ("{}", r"has the keys \(none\) in line 1; it needs file_name \(or "),
        ('{"caption_1": "b"}', r"has the keys caption_1 in line 1; it needs"),
        ('{"name": "a", "caption": "b"}', r"has the keys name, caption in line 1; it needs"),
        (
            '\n{"file_name": true, "caption_1": "b"}',
            r"has a file_name that is no text, in line 2; put it in quotes",
        ),
        ('{"file_name": null, "caption_1": "b"}', r"has no file_name in line 1"),
        ('{"file_name": "a", "caption_1": NaN}', r"has a caption_1 that is no text, in line 1"),
        (
            '{"file_name": "a", "captions": "b"}',
            r"has captions that are no list, in line 1; put them in brackets",
        ),
        ('{"file_name": "a", "captions": ["b", ["c"]]}', r"has a captions that is no text, in line 1"),
        (
            r'{"file_name": "a", "caption_1": "\ud800"}',
            r"has a caption_1 with a character that is none, in line 1",
        ),
        (r'{"file_name": "\u0000", "caption_1": "b"}', r"has a file_name with a character that is none"),
        (
            b'{"file_name": "a",\n"caption_1": "\xff"}',
            r"has a caption_1 with a character that is none, in line 1",
        ),
    ],
)
@both
def test_json_lines_that_cannot_be_used_are_told(
    tmp_path: Path, read: Read, data: str | bytes, message: str
) -> None:
    with pytest.raises(TableError, match=message):
        read(written(tmp_path, data, "captions.jsonl"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "file,caption\na,b\n",
            r"has the columns file, caption; it needs file_name \(or youtube_id\), and caption_1, ",
        ),
        ("file_name,caption_1,caption_2\na, ,\n", r"has no caption for a; write one or remove the row"),
        ("file_name,caption_1\na\n", r"has no caption for a"),
    ],
)
def test_references_that_cannot_be_used_are_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read_references(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,caption,rank\na,b,1\na,c,2\na,d,2\n", r"lists a twice, in line 3 and line 4"),
        ("file,caption\na,b\na,c\n", r"lists a twice, in line 2 and line 3"),
        ("file,caption,rank\na,b,first\n", r"has the rank 'first' in line 2; ranks count from 1"),
        ("file,caption\n,b\n", r"has no file in line 2; write it"),
    ],
)
def test_ranked_candidates_that_cannot_be_used_are_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read_candidates(written(tmp_path, text))


@both
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, read: Read) -> None:
    with pytest.raises(TableError, match=r"^There is no .*nowhere\.csv; name a CSV or JSON file"):
        read(tmp_path / "nowhere.csv")
    with pytest.raises(
        TableError, match=r"cannot be read: is a directory\.|cannot be read: permission denied\."
    ):
        read(tmp_path)


def test_real_references_are_read(shared_data: Path) -> None:
    references = read_references(shared_data / "captions" / "clotho_captions_evaluation.csv")
    assert len(references) == 1045
    assert {len(captions) for captions in references.values()} == {5}
    assert references["Santa Motor.wav"][1] == "A person is using electric clippers to trim bushes."


@pytest.mark.parametrize("second", ["file,caption", "caption,file_name", "file_name,caption,score"])
def test_a_header_of_another_table_is_no_recording(tmp_path: Path, second: str) -> None:
    columns = second.count(",") + 1
    row = ",".join(["b.wav", "rain", "1"][:columns])
    path = written(tmp_path, f"file_name,caption,score\na.wav,dog,1\n{second}\n{row}\n")
    if second == "file_name,caption,score":
        assert list(read_candidates(path)) == ["a.wav", "b.wav"]
        return
    with pytest.raises(TableError, match="has another header in line 3; join only files with the same"):
        read_candidates(path)


def test_a_recording_may_be_called_as_a_column(tmp_path: Path) -> None:
    path = written(tmp_path, "file_name,caption\ncaption,A dog\nfile,rain\n")
    assert read_candidates(path) == {"caption": ("A dog",), "file": ("rain",)}


def test_many_blanks_before_a_table_cost_no_time(tmp_path: Path) -> None:
    began = time.process_time()
    with pytest.raises(TableError):
        read_candidates(written(tmp_path, " " * 200_000 + "file_name,captions\na,b\n"))
    assert time.process_time() - began < 5


@pytest.mark.parametrize("last", ["b.wav", "b.wav,rain fal", "b.wav,rain falls,-1,0.5,8.0,1"])
def test_our_own_table_that_was_cut_is_refused(tmp_path: Path, last: str) -> None:
    header = "file,caption,log_probability,confidence,seconds,rank,error"
    path = written(tmp_path, f"{header}\na.wav,a dog,-1,0.5,8.0,1,\n{last}")
    with pytest.raises(TableError, match="is cut short in line 3"):
        read_candidates(path)
