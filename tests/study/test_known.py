"""What was found out about files holds until one of them changes."""

import os
from pathlib import Path

import pytest

from otoscribe.errors import AudioError
from otoscribe.study.engine.known import Known


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    return path


def asked(known: Known, file: Path, question: str = "what") -> int:
    """Return how often the answer had to be found."""
    found: list[bytes] = []

    def find() -> str:
        found.append(file.read_bytes())
        return found[-1].decode()

    assert known.get(question, [file], find) == file.read_text()
    return len(found)


def test_an_answer_is_found_once_and_kept_on_disk(tmp_path: Path, file: Path) -> None:
    known = Known(tmp_path / "known.json")
    assert [asked(known, file), asked(known, file), asked(known, file, "how")] == [1, 0, 1]
    known.save()
    assert [asked(Known(tmp_path / "known.json"), file), asked(Known(tmp_path / "other.json"), file)] == [
        0,
        1,
    ]


@pytest.mark.parametrize("way", ["size", "same size", "same size and time"])
def test_a_changed_file_is_asked_about_anew(tmp_path: Path, file: Path, way: str) -> None:
    known = Known(tmp_path / "known.json")
    asked(known, file)
    before = file.stat()
    os.utime(file, ns=(0, 0))
    file.write_bytes(b"three" if way == "size" else b"two")
    if way == "same size and time":
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert asked(known, file) == 1


def test_what_others_wrote_meanwhile_is_kept_and_damage_costs_time_only(tmp_path: Path, file: Path) -> None:
    path = tmp_path / "known.json"
    ours, theirs = Known(path), Known(path)
    asked(ours, file, "ours")
    asked(theirs, file, "theirs")
    ours.save()
    theirs.save()
    assert [asked(Known(path), file, question) for question in ("ours", "theirs")] == [0, 0]
    for damaged in ("{", "[]", '{"ours": 5}', '{"ours": []}'):
        path.write_text(damaged)
        assert asked(Known(path), file, "ours") == 1


def test_a_file_that_went_away_is_named(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="gone cannot be read: no such file"):
        Known(tmp_path / "known.json").get("what", [tmp_path / "gone"], int)
