"""Reading recordings with captions from folders and CSVs."""

from pathlib import Path

import pytest

from otoscribe.datasets.folder import CaptionedClip, read_pairs
from otoscribe.errors import RunError


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
        ("file_name,caption\na.wav,Rain\n", r"it needs file_name and caption_1"),
        ("", r"has the columns \(none\)"),
        ("file_name,caption_1\n", r"lists no recordings"),
        ("file_name,caption_1\na.wav,Rain\na.wav,Snow\n", r"lists a\.wav twice"),
        ("file_name,caption_1\nb.wav,Rain\n", r"b\.wav, which does not exist"),
        ("file_name,caption_1\na.wav, . \n", r"has no caption for a\.wav"),
        ("file_name,caption_1\na.wav\n", r"has no caption for a\.wav"),
        ('file_name,caption_1\na.wav,"Rain\n', r"is not a CSV in UTF-8: unexpected end of data"),
    ],
)
def test_a_table_that_cannot_be_used_is_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RunError, match=message):
        read_pairs(table(tmp_path, text, "a.wav"))


def test_a_table_that_is_not_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_bytes(b"file_name,caption_1\n\xff\xfe,x\n")
    with pytest.raises(RunError, match="is not a CSV in UTF-8"):
        read_pairs(tmp_path)


def test_a_folder_needs_exactly_one_csv(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="must hold exactly one CSV; found: none"):
        read_pairs(tmp_path)
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("")
    with pytest.raises(RunError, match=r"found: a\.csv, b\.csv\. Name the CSV itself"):
        read_pairs(tmp_path)
    with pytest.raises(RunError, match=r"There is no .*nowhere"):
        read_pairs(tmp_path / "nowhere")


def test_the_visible_pairs_are_read(shared_data: Path) -> None:
    clips = read_pairs(shared_data / "pairs")
    assert len(clips) >= 64
    assert sorted({len(clip.captions) for clip in clips}) == [1, 5]
