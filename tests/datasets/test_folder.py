"""Reading recordings with captions from folders and CSVs."""

import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from otoscribe.datasets.folder import CaptionedClip, fingerprint, read_pairs
from otoscribe.errors import AudioError, TableError, TableWarning


def table(folder: Path, text: str, *recordings: str) -> Path:
    for name in recordings:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    (folder / "captions.csv").write_text(text, encoding="utf-8")
    return folder


def test_a_folder_and_its_csv_give_the_same_clips_in_order(tmp_path: Path) -> None:
    folder = table(
        tmp_path,
        "\ufefffile_name,corpus,caption_10,caption_1,caption_2\n"
        '"b/Rain, heavy.wav",x,It pours,"Rain falls, hard",Wet\n'
        "a.wav,x,Barks,A dog, ! \n",
        "a.wav",
        "b/Rain, heavy.wav",
    )
    clips = read_pairs(folder)
    assert clips == [
        CaptionedClip(folder / "b" / "Rain, heavy.wav", ("Rain falls, hard", "Wet", "It pours")),
        CaptionedClip(folder / "a.wav", ("A dog", "Barks")),
    ]
    assert read_pairs(folder / "captions.csv") == clips


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,caption_1\na.wav,Rain\n", r"has the columns file, caption_1; it needs file_name"),
        ("", r"lists no recordings"),
        ("file_name,caption_1\n", r"lists no recordings"),
        ("file_name,caption_1\na.wav,Rain\na.wav,Snow\n", r"lists a\.wav twice"),
        (
            "file_name,caption_1\nb.wav,Rain\n",
            r"None of the 1 recordings in .*csv is there: 'b\.wav'\. Their names are",
        ),
        ("file_name,caption_1\na.wav, . \n", r"has no caption for a\.wav"),
        ("file_name,caption_1\na.wav,Rain\n./a.wav,Snow\n", r"lists \./a\.wav twice"),
        ("file_name,caption_1\na.wav\n", r"has no caption for a\.wav"),
        ('file_name,caption_1\na.wav,"Rain\n', r"is not a CSV in UTF-8: unexpected end of data"),
    ],
)
def test_a_table_that_cannot_be_used_is_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read_pairs(table(tmp_path, text, "a.wav"))


def test_a_row_may_hold_one_caption(tmp_path: Path) -> None:
    text = "file_name,caption\na.wav,Rain\nb.wav,Dog\na.wav,...\na.wav,Snow\n"
    assert read_pairs(table(tmp_path, text, "a.wav", "b.wav")) == [
        CaptionedClip(tmp_path / "a.wav", ("Rain", "Snow")),
        CaptionedClip(tmp_path / "b.wav", ("Dog",)),
    ]


MANY = "file_name,caption_1\n" + "".join(f"{name}.wav,Rain\n" for name in ("a", "b", "c", "d/e", "f", "g"))


def test_missing_recordings_are_told_at_once(tmp_path: Path) -> None:
    folder = table(tmp_path, MANY, "a.wav", "g.wav")
    (folder / "f.wav").mkdir()
    with pytest.raises(TableError) as raised:
        read_pairs(folder)
    assert str(raised.value) == (
        f"Missing are 4 of 6 recordings in {folder / 'captions.csv'}: 'b.wav', 'c.wav', 'd/e.wav', "
        "'f.wav'. Put them there, or go on without: --skip-missing"
    )


def test_missing_recordings_may_be_left_out(tmp_path: Path) -> None:
    folder = table(tmp_path, MANY, "a.wav", "g.wav")
    with pytest.warns(
        TableWarning, match=r"they are missing: 4 of 6 recordings in .*, 'b\.wav', .* and 1 more\."
    ):
        clips = read_pairs(folder, skip_missing=True)
    assert [clip.path.name for clip in clips] == ["a.wav", "g.wav"]
    for name in ("b", "c", "d/e", "f"):
        table(folder, MANY, f"{name}.wav")
    assert len(read_pairs(folder, skip_missing=True)) == 6  # and no warning
    (tmp_path / "other").mkdir()
    with pytest.raises(TableError, match="None of the 6 recordings"):
        read_pairs(table(tmp_path / "other", MANY), skip_missing=True)


@pytest.mark.parametrize("name", ["x" * 5000 + ".wav", "a.wav/b.wav", "..", "/"])
def test_a_name_that_no_recording_can_have_is_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(TableError, match="Missing are 1 of 2"):
        read_pairs(table(tmp_path, f"file_name,caption_1\na.wav,Rain\n{name},Rain\n", "a.wav"))


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("in_table", ["NFC", "NFD"])
def test_a_name_of_another_system_is_found(tmp_path: Path, on_disk: str, in_table: str) -> None:
    name, listed = (unicodedata.normalize(form, "Caf\xe9.wav") for form in (on_disk, in_table))
    clips = read_pairs(table(tmp_path, f"file_name,caption_1\nb\\{listed},Rain\n", f"b/{name}"))
    assert [clip.path.read_bytes() for clip in clips] == [b""]


def write_clips(folder: Path, *pairs: tuple[str, bytes, tuple[str, ...]]) -> list[CaptionedClip]:
    folder.mkdir()
    for name, content, _ in pairs:
        (folder / name).write_bytes(content)
    return [CaptionedClip(folder / name, captions) for name, _, captions in pairs]


def test_the_checksum_of_a_recording(tmp_path: Path) -> None:
    (clip,) = write_clips(tmp_path / "a", ("a.wav", b"hello world\n", ("Rain",)))
    expected = "a948904f2f0f479b8f8197694b30184b0d2ed1c1cd2a1ec0fb85d299a192a447"
    assert clip.sha256 == expected
    clip.path.unlink()
    assert clip.sha256 == expected  # read once
    with pytest.raises(AudioError, match=r"a\.wav cannot be read: no such file"):
        _ = replace(clip).sha256


PAIRS = (("a.wav", b"one", ("Rain", "Snow")), ("b.wav", b"two", ("Dog",)))


@pytest.mark.parametrize(
    "change",
    [
        lambda a, b: [b, a],
        lambda a, b: [a],
        lambda a, b: [a, b, b],
        lambda a, b: [replace(a, captions=("Snow", "Rain")), b],
        lambda a, b: [replace(a, captions=("Rain",)), replace(b, captions=("Snow", "Dog"))],
        lambda a, b: [replace(a, captions=("RainSnow",)), b],
        lambda a, b: [replace(a, path=b.path), b],
    ],
)
def test_a_fingerprint_changes_with_recordings_and_captions(
    tmp_path: Path, change: Callable[[CaptionedClip, CaptionedClip], list[CaptionedClip]]
) -> None:
    clips = write_clips(tmp_path / "a", *PAIRS)
    assert fingerprint(change(*clips)) != fingerprint(clips)


def test_a_fingerprint_is_that_of_any_copy(tmp_path: Path) -> None:
    copies = [(f"copy of {name}", content, captions) for name, content, captions in PAIRS]
    there, here = write_clips(tmp_path / "a", *PAIRS), write_clips(tmp_path / "b", *copies)
    assert fingerprint(there) == fingerprint(here)
    assert fingerprint(here) == "61805236fd6c454aa10b7815e3dfeeb4c2d659e500f279bf228817ed2ca005a5"


def test_a_table_that_is_not_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_bytes(b"file_name,caption_1\na.wav,\xff\xfe\n")
    with pytest.raises(TableError, match="is not a CSV in UTF-8"):
        read_pairs(tmp_path)


def test_a_folder_needs_exactly_one_csv(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="must hold exactly one CSV; found: none"):
        read_pairs(tmp_path)
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("")
    with pytest.raises(TableError, match=r"found: a\.csv, b\.csv\. Name the CSV itself"):
        read_pairs(tmp_path)
    with pytest.raises(TableError, match=r"There is no .*nowhere"):
        read_pairs(tmp_path / "nowhere")


def test_the_visible_pairs_are_read(shared_data: Path) -> None:
    clips = read_pairs(shared_data / "pairs")
    assert len(clips) >= 64
    assert sorted({len(clip.captions) for clip in clips}) == [1, 5]
