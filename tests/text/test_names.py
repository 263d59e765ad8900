"""Which reference a candidate is about, by the names alone."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otoscribe.errors import TableError
from otoscribe.text.names import match, some


@pytest.mark.parametrize(
    ("candidate", "reference"),
    [
        ("a.wav", "a.wav"),
        ("./a.wav", "a.wav"),
        ("a.wav", "./a.wav"),
        ("././park//a.wav", "park/a.wav"),
        ("/data/park/a.wav", "park/a.wav"),
        ("/data/park/a.wav", "a.wav"),
        ("../park/a.wav", "park/a.wav"),
        ("a.wav", "park/a.wav"),
        ("park/a.wav", "/data/set/park/a.wav"),
        (r"C:\data\park\a.wav", "park/a.wav"),
        ("park/a.wav", r"C:\data\park\a.wav"),
        (r".\park\a.wav", "park/a.wav"),
        ("/mine/eval/a.wav", "/theirs/test/a.wav"),
        ("Cafe\u0301.wav", "Caf\xe9.wav"),
        ("x/Caf\xe9.wav", "Cafe\u0301.wav"),
        ("a.flac", "a.wav"),
        ("/data/park/a.FLAC", "park/a"),
        ("park/a", "a.wav"),
        ("/mine/eval/a.mp3", "/theirs/test/a.wav"),
        ("x/bad\udcff.wav", "bad\udcff.wav"),
        ("42", "42.wav"),
        (" a.wav", " a.wav"),
        ("", ""),
        ("/", "/"),
    ],
)
def test_names_of_one_recording(candidate: str, reference: str) -> None:
    assert match([candidate], [reference]) == {candidate: reference}


@pytest.mark.parametrize(
    ("candidate", "reference"),
    [
        ("a.wav", "b.wav"),
        ("xa.wav", "a.wav"),
        ("A.wav", "a.wav"),
        ("a.wav/b.wav", "a.wav"),
        ("take.1", "take.2"),
        ("take.1.wav", "take.2.wav"),
        ("thunderclap_2.wav", "thunderclap"),  # eleven letters, but not known to be an id of YouTube
        ("Ythunderclap.wav", "thunderclap"),
        (".wav", ".flac"),
        ("bad\udcff.wav", "bad\udcfe.wav"),
    ],
)
def test_names_of_two_recordings(candidate: str, reference: str) -> None:
    assert match([candidate], [reference]) == {}


def test_the_longest_common_end_counts() -> None:
    references = ["park/a.wav", "street/a.wav", "a.wav", "old/park/a.wav"]
    assert match(["/x/street/a.wav", "/x/a.wav", "/old/park/a.wav", "/new/park/a.wav"], references) == {
        "/x/street/a.wav": "street/a.wav",
        "/x/a.wav": "a.wav",
        "/old/park/a.wav": "old/park/a.wav",
        "/new/park/a.wav": "park/a.wav",
    }


def test_what_no_reference_is_about_is_left_out() -> None:
    assert match(["/x/park/a.wav", "/x/lake/a.wav", "/x/park/c.wav"], ["park/a.wav", "park/b.wav"]) == {
        "/x/park/a.wav": "park/a.wav"
    }
    # The ending counts for nothing only where no name matches with it.
    assert match(["a.wav", "a.mp3"], ["a.wav"]) == {"a.wav": "a.wav"}
    assert match(["a.wav", "a.mp3"], ["a.mp3", "a.wav"]) == {"a.wav": "a.wav", "a.mp3": "a.mp3"}


def test_a_folder_may_have_moved_but_all_of_it() -> None:
    references = ["test/park/a.wav", "test/street/a.wav", "test/b.wav"]
    moved = ["/x/eval/street/a.wav", "/x/eval/park/a.wav", "/x/eval/b.wav"]
    assert match(moved, references) == dict(zip(moved, [references[i] for i in (1, 0, 2)], strict=True))
    # Else names that end alike would be one, whatever folder they are in.
    assert match(["street/a.wav", "park/b.wav"], ["park/a.wav", "street/b.wav"]) == {}
    assert match(["x/lake/a.wav"], references) == {}
    assert match(["park/b.wav", "street/a.wav"], ["park/a.wav", "park/b.wav"]) == {"park/b.wav": "park/b.wav"}
    assert match(["x/a.wav"], ["y/a.mp3", "y/a.flac"]) == {}


@pytest.mark.parametrize(
    ("candidates", "references", "names"),
    [
        (["a.wav"], ["park/a.wav", "street/a.wav"], ["a.wav", "park/a.wav", "street/a.wav"]),
        (["a.mp3"], ["a.wav", "a.flac"], ["a.mp3", "a.wav", "a.flac"]),
        (["x/a.wav", "y/a.wav"], ["a.wav"], ["x/a.wav", "y/a.wav", "a.wav"]),
        (["a.wav", "y/a.wav"], ["a.wav"], ["a.wav", "y/a.wav", "a.wav"]),
        (["a.wav", "./a.wav"], ["a.wav"], ["a.wav", "./a.wav", "a.wav"]),
        (["a.mp3", "a.flac"], ["a.wav"], ["a.mp3", "a.flac", "a.wav"]),
        (["x/a.wav", "x/./a.wav"], ["y/a.wav"], ["x/a.wav", "x/./a.wav", "y/a.wav"]),
        (["z"], ["a.wav", "./a.wav"], ["a.wav", "./a.wav"]),
        (["z"], ["Cafe\u0301", "Caf\xe9"], ["Cafe\u0301", "Caf\xe9"]),
    ],
)
def test_what_may_mean_two_is_an_error_that_names_both(
    candidates: list[str], references: list[str], names: list[str]
) -> None:
    with pytest.raises(TableError) as raised:
        match(candidates, references)
    for name in names:
        assert repr(name) in str(raised.value)


ID = "-bc_efghijk"


@pytest.mark.parametrize(
    "name",
    [
        ID,
        f"{ID}.flac",
        f"/data/Y{ID}.wav",
        f"{ID}_30.wav",
        f"Y{ID}_30.000_40.000.wav",
        f"{ID}_30_40",
        f"{ID}_30000_40000.m4a",
        f"Y{ID}_30000.wav",
    ],
)
def test_clips_of_youtube_are_known_by_id_and_start(name: str) -> None:
    assert match([name], ["abcdefghijk", ID], {ID: 30.0, "abcdefghijk": 0.0}) == {name: ID}


@pytest.mark.parametrize(
    "name",
    [
        f"{ID}_40.wav",
        f"{ID}_0.wav",
        f"{ID}_3.wav",
        f"{ID}_30_40_50.wav",
        f"{ID}_30s.wav",
        f"{ID}_.wav",
        f"X{ID}.wav",
        f"y{ID}.wav",
        f"{ID}x.wav",
        f"{ID}/a.wav",
    ],
)
def test_another_clip_of_a_video_is_another(name: str) -> None:
    assert match([name], [ID], {ID: 30.0}) == {}
    assert match([f"{ID}_30.wav"], [ID], {ID: float("nan")}) == {}


def test_two_clips_of_a_video_are_an_error() -> None:
    with pytest.raises(TableError, match="are both about"):
        match([f"{ID}.wav", f"Y{ID}_30.wav"], [ID], {ID: 30.0})


files = st.lists(st.sampled_from(["a", "b", "\xe9", "c.d"]), min_size=1, max_size=4).map(tuple)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sets(files, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_a_tree_matches_itself_from_any_folder(tree: set[tuple[str, ...]], chance: object) -> None:
    """Planted paths come back, whichever system and folder named them."""
    names = ["/".join((*parts, "x.wav")) for parts in tree]
    for root, slash in (("", "/"), ("/data/set/", "/"), ("C:\\data\\", "\\")):
        spelled = {root + unicodedata.normalize("NFD", name).replace("/", slash): name for name in names}
        assert match(spelled, names) == spelled


def test_some_names_are_shown_of_many() -> None:
    assert some(["a"]) == "'a'"
    assert some(["a", "b", "c"]) == "'a', 'b', 'c'"
    assert some(list("abcdefg")) == "'a', 'b', 'c' and 4 more"
