"""Tables in the layout of every program and data set that writes them, and several of them joined."""

from pathlib import Path

import pytest

from otoscribe.cli import formats
from otoscribe.errors import TableError, TableWarning
from otoscribe.listen.captioner import Candidate, Caption, Failure
from otoscribe.text.names import match
from otoscribe.text.tables import Captions, read_candidates, read_pairing, read_references


def written(folder: Path, data: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "surrogateescape"))
    return path


def caption(file: str, *texts: str) -> Caption:
    return Caption(file, 1.0, tuple(Candidate(text, -1.0, 0.5, (("a", 0.5),)) for text in texts))


SEVERAL = {
    "[1] x/a: b.wav": ("a dog", "", "a cat"),
    "/b.wav": ("rain",),
    "bad\udcff.wav": ("",),
    "d,\xe9.wav": ("x",),
}
RESULTS = [caption(name, *texts) for name, texts in SEVERAL.items()]
FORMS = {
    "csv": formats.as_csv,
    "json": formats.as_json,
    "jsonl": formats.as_jsonl,
    "text": formats.as_text(several=True),
}
forms = pytest.mark.parametrize("form", FORMS)


@forms
def test_what_the_caption_command_writes_is_read(tmp_path: Path, form: str) -> None:
    expected = dict(SEVERAL)
    path = written(tmp_path, "".join(FORMS[form](RESULTS)), "captions.out")
    assert list(read_candidates(path).items()) == list(expected.items())
    failed = [*RESULTS[:2], Failure("c.wav", "c.wav is empty."), *RESULTS[2:]]
    if form != "text":  # standard error has it
        expected["c.wav"] = ()
    path = written(tmp_path, "".join(FORMS[form](failed)), "captions.out")
    assert read_candidates(path) == expected


@forms
def test_joined_outputs_are_read_as_one(tmp_path: Path, form: str) -> None:
    parts = ["".join(FORMS[form](RESULTS[:1])), "".join(FORMS[form](RESULTS[1:]))]
    assert read_candidates(written(tmp_path, "".join(parts), "captions.out")) == SEVERAL
    marked = "".join("\ufeff" + part for part in parts)
    assert read_candidates(written(tmp_path, marked, "captions.out")) == SEVERAL
    with pytest.raises(TableError, match="twice"):
        read_candidates(written(tmp_path, parts[0] + parts[0], "captions.out"))


def test_a_name_that_was_printed_escaped_is_read(tmp_path: Path) -> None:
    names = ["Screen\u202fRecording.wav", "tab\x07.wav", r"C:\xe9t\x41.wav", "\U000e0001.wav", r"\Uffffffff"]
    lines = "".join(formats.as_text(several=True)([caption(name, "rain") for name in names]))
    assert list(read_candidates(written(tmp_path, lines))) == names


def test_one_caption_without_a_name_is_told(tmp_path: Path) -> None:
    alone = formats.as_text(several=False)
    for texts in (("rain falls",), ("rain falls", "rain")):
        path = written(tmp_path, "".join(alone([caption("a.wav", *texts)])))
        with pytest.raises(TableError, match=r"names no recording in line 1: .*Caption with --format csv"):
            read_candidates(path)
    lines = "".join(FORMS["text"](RESULTS)) + "a.wav is empty.\n"
    with pytest.raises(TableError, match=r"caption` prints in UTF-8: 'a\.wav is empty\.', in line 8\. Save"):
        read_candidates(written(tmp_path, lines))
    with pytest.raises(TableError, match="is what `otoscribe caption` prints; it needs file_name"):
        read_references(written(tmp_path, "".join(FORMS["text"](RESULTS))))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "file_name,caption_predicted\na.wav,A dog\nb.wav,\n",
            {"a.wav": ("A dog",), "b.wav": ("",)},
        ),  # DCASE
        ('[{"image_id": "a.wav", "caption": "A dog"}]', {"a.wav": ("A dog",)}),  # COCO
        (
            '[{"image_id": 42, "caption": "A dog"}, {"image_id": 7.0, "caption": "x"}]',
            {"42": ("A dog",), "7": ("x",)},
        ),
        ("image_id,caption\n42,A dog\n", {"42": ("A dog",)}),
        (
            '{"file": "a", "caption": "x", "rank": 2}\n{"file": "a", "caption": "y", "rank": 1}',
            {"a": ("y", "x")},
        ),
        ("file_name, caption\na.wav,A dog\n", {"a.wav": ("A dog",)}),
        ("file_name,caption,keywords,keywords\na.wav,A dog,x,y\n", {"a.wav": ("A dog",)}),
        ("file_name,caption,error\na.wav,A dog,0.25\n", {"a.wav": ("A dog",)}),
        ('{"file_name": "a", "caption": "x", "candidates": 3}', {"a": ("x",)}),
        (b"file_name,caption,keywords\na.wav,A dog,caf\xe9\n", {"a.wav": ("A dog",)}),
        (
            b"file,caption,error\nbad\xff.wav,,bad\xff.wav is empty.\nb.wav,x,\n",
            {"bad\udcff.wav": (), "b.wav": ("x",)},
        ),
        ('[\n]\n[{"file": "a", "caption": "x"}]\n[]', {"a": ("x",)}),
    ],
)
def test_candidates_of_others(tmp_path: Path, text: str | bytes, expected: Captions) -> None:
    assert read_candidates(written(tmp_path, text)) == expected


HEADER = "audiocap_id,youtube_id,start_time,caption\n"
AUDIOCAPS = (
    HEADER + '103549,7fmOlUlwoNg,20,"Rattling, sharp"\n1,6BJ455B1aAs,0,A rocket\n2,7fmOlUlwoNg,20, Noise \n'
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (AUDIOCAPS, {"7fmOlUlwoNg": ("Rattling, sharp", "Noise"), "6BJ455B1aAs": ("A rocket",)}),
        (
            AUDIOCAPS + HEADER + "3,6BJ455B1aAs,0,x\n",
            {"7fmOlUlwoNg": ("Rattling, sharp", "Noise"), "6BJ455B1aAs": ("A rocket", "x")},
        ),
        ("file_name,caption\na.wav,x\nb.wav,y\na.wav,\na.wav,z\n", {"a.wav": ("x", "z"), "b.wav": ("y",)}),
        ("youtube_id,file_name,caption\nx,a.wav,x\nx,b.wav,y\n", {"a.wav": ("x",), "b.wav": ("y",)}),
        ('[{"file_name": "a", "caption": "x"}, {"file_name": "a", "caption": "y"}]', {"a": ("x", "y")}),
        (
            '[{"file_name": "a", "captions": ["x", "y"]}]\n[{"file_name": "b", "caption_1": "z"}]',
            {"a": ("x", "y"), "b": ("z",)},
        ),
        (b"file_name,caption_1\nbad\xff.wav,x\n", {"bad\udcff.wav": ("x",)}),
        ("file_name,caption_1\na,x\nfile_name,caption_1\nb,y\n", {"a": ("x",), "b": ("y",)}),
    ],
)
def test_references_of_others(tmp_path: Path, text: str | bytes, expected: Captions) -> None:
    assert list(read_references(written(tmp_path, text)).items()) == list(expected.items())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file_name,caption_1\na,x\nfile_name,caption\nb,y\n", "has another header in line 3; join only"),
        ("file_name,caption_1,x\na,x,x\nfile_name,caption_1\nb,y\n", "has another header in line 3"),
        (AUDIOCAPS + "3,6BJ455B1aAs,30,x\n", "two clips of 6BJ455B1aAs, in line 3 and line 5; add a column"),
        ("file_name,caption,caption_1\na,x,y\na,x,z\n", "lists a twice, in line 2 and line 3"),
        (
            '{"file_name": "a", "caption": "x"}\n{"file_name": "a", "captions": ["y"]}',
            "lists a twice, in line 1 and line 2",
        ),
        ('[{"file_name": "a", "captions": "x"}]', "captions that are no list, in entry 1"),
        ("file_name,keywords,\n", "has the columns file_name, keywords, ; it needs"),
        (b"file_name,caption\na,x\nb,caf\xe9\n", "is not a CSV in UTF-8: byte 0xe9, in line 3"),
    ],
)
def test_references_that_cannot_be_used_are_told(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read_references(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"image_id": 1.5, "caption": "x"}]', "image_id that is no text, in entry 1"),
        ('[{"image_id": 1e400, "caption": "x"}]', "image_id that is no text, in entry 1"),
        ('[{"image_id": NaN, "caption": "x"}]', "image_id that is no text, in entry 1"),
        ('[{"image_id": true, "caption": "x"}]', "image_id that is no text, in entry 1"),
        (f'[{{"image_id": {"9" * 5000}, "caption": "x"}}]', "is not JSON in UTF-8: .* in line 1"),
        ('[{"image_id": 1, "caption": 2}]', "caption that is no text, in entry 1"),
        (r'{"file": "a", "caption": "x\udcff"}', "a caption with a character that is none, in line 1"),
        (r'{"file": "\ud83d", "caption": "x"}', "a file with a character that is none, in line 1"),
        ('{"file": "a", "caption": "x", "candidates": 3}', "candidates that are no list, in line 1"),
        ('{"file": "a", "caption": "x", "candidates": [[]]}', "candidates that is no text, in line 1"),
        ('[{"file": "a", "caption": "x"},', "is not JSON in UTF-8: Expecting value, in line 1"),
        ('{"file": "a",\n"caption": "x"}\n}', "is not JSON in UTF-8: Expecting value, in line 3"),
        ("3 4", "has the columns 3 4; it needs"),
    ],
)
def test_candidates_that_cannot_be_used_are_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read_candidates(written(tmp_path, text))


def pair(folder: Path, candidates: str, references: str) -> tuple[Captions, Captions]:
    return read_pairing(written(folder, candidates, "c.csv"), written(folder, references, "r.csv"))


def test_a_pairing_has_the_names_and_order_of_the_references(tmp_path: Path) -> None:
    with pytest.warns(TableWarning) as left_out:
        candidates, references = pair(
            tmp_path,
            "file,caption\nx/b.flac,rain\nz.wav,x\nYabcdefghijk_20.wav,a dog\ny.wav,x\n",
            "youtube_id,start_time,caption\nabcdefghijk,20,A dog\nb,0,Rain\nabcdefghijk,20,Barking\n",
        )
    assert list(candidates.items()) == [("abcdefghijk", ("a dog",)), ("b", ("rain",))]
    assert list(references.items()) == [("abcdefghijk", ("A dog", "Barking")), ("b", ("Rain",))]
    assert [str(warning.message) for warning in left_out] == [
        "Left out, because no reference is about them: 2 of 4 candidates, 'z.wav', 'y.wav'."
    ]


def test_what_has_no_candidate_is_told(tmp_path: Path) -> None:
    references = "file_name,caption_1\n" + "".join(f"{name}.wav,x\n" for name in "abcdef")
    with pytest.raises(TableError) as raised:
        pair(tmp_path, "file,caption\nx/f.wav,x\n", references)
    assert str(raised.value) == (
        f"5 of 6 recordings in {tmp_path / 'r.csv'} have no candidate in {tmp_path / 'c.csv'}: "
        "'a.wav', 'b.wav', 'c.wav' and 2 more. Add candidates, or remove the references."
    )
    with pytest.raises(
        TableError, match=r"No candidate is about .*c\.csv has names like 'z', .*r\.csv like 'a\.wav'"
    ):
        pair(tmp_path, "file,caption\nz,x\n", references)
    errors = "".join(f"{name}.wav,,It is empty.\n" for name in "abcdef")
    with pytest.raises(
        TableError, match=r"an error instead of a caption for 'a\.wav', 'b\.wav', 'c\.wav' and 3 more"
    ):
        pair(tmp_path, f"file,caption,error\n{errors}", references)


def test_an_error_that_no_reference_is_about_costs_nothing(tmp_path: Path) -> None:
    errors = "file,caption,error\na.wav,x,\nnotes.txt,,No sound.\n"
    with pytest.warns(TableWarning, match="1 of 2 candidates, 'notes.txt'"):
        assert pair(tmp_path, errors, "file_name,caption_1\na.wav,y\n") == (
            {"a.wav": ("x",)},
            {"a.wav": ("y",)},
        )


def test_real_references_of_audiocaps_are_read(shared_data: Path) -> None:
    references = read_references(shared_data / "captions" / "audiocaps_test.csv")
    assert len(references) == 975
    assert {len(captions) for captions in references.values()} == {5}
    with pytest.raises(TableError, match="it needs file_name"):
        read_references(shared_data / "captions" / "audiocaps_val_labels.csv")


@pytest.mark.slow
def test_real_files_of_audiocaps_are_matched(shared_data: Path) -> None:
    recordings = sorted((shared_data / "pairs" / "audiocaps").iterdir())
    references = read_references(shared_data / "captions" / "audiocaps_test.csv")
    references |= read_references(shared_data / "captions" / "audiocaps_val.csv")
    references |= read_references(shared_data / "captions" / "audiocaps_train.csv")
    found = match(map(str, recordings), references)
    assert found == {str(path): path.stem for path in recordings}
