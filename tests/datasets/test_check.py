"""The check of data: planted faults are found, and nothing else."""

from pathlib import Path

import numpy as np
import pytest

from otoscribe.datasets.check import Part, Recording, Report, check
from otoscribe.datasets.folder import Listed
from support.recordings import noise, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, name in enumerate(("a", "b", "c", "d")):
        write(tmp_path / f"{name}.wav", noise(0.5, 16000, seed=seed))
    return tmp_path


def part(folder: Path, name: str, *recordings: str, **origins: str) -> Part:
    captions = {f"{recording}.wav": ("Rain", "Wet") for recording in recordings}
    ids = {f"{recording}.wav": origin for recording, origin in origins.items()}
    return Part(name, Listed(folder / f"{name}.csv", folder, captions), ids)


def test_data_without_a_fault_are_clean(folder: Path) -> None:
    told: list[tuple[str, int, int]] = []
    parts = [part(folder, "one", "a", "b", a="1", b="1"), part(folder, "two", "c", "d", c="2")]
    report = check(parts, lambda *progress: told.append(progress))
    assert report.clean
    first, second = report.parts
    assert (first.name, first.recordings, first.captions, first.missing) == ("one", 2, 4, ())
    assert first.hours == pytest.approx(1 / 3600)
    assert (first.undecodable, first.odd, report.duplicates, report.overlap) == ({}, {}, (), {})
    assert second.name == "two"
    assert told == [
        ("decoding one", 1, 2),
        ("decoding one", 2, 2),
        ("decoding two", 1, 2),
        ("decoding two", 2, 2),
    ]


def found(*parts: Part) -> Report:
    report = check(parts)
    assert not report.clean
    return report


def test_missing_and_broken_recordings_are_found(folder: Path) -> None:
    (folder / "b.wav").write_bytes(b"This is no recording.")
    write(folder / "c.wav", np.full((4000, 1), np.nan, np.float32), subtype="FLOAT")
    (one,) = found(part(folder, "one", "a", "b", "c", "e")).parts
    assert one.missing == ("e.wav",)
    assert sorted(one.undecodable) == ["b.wav", "c.wav"]
    assert "is text" in one.undecodable["b.wav"]


def test_a_recording_that_is_cut_is_odd_and_no_fault(folder: Path) -> None:
    whole = (folder / "a.wav").read_bytes()
    (folder / "a.wav").write_bytes(whole[: len(whole) // 2])
    report = check([part(folder, "one", "a")])
    assert report.clean
    assert list(report.parts[0].odd) == ["a.wav"]


def test_the_same_sound_is_found_under_any_name_and_in_another_container(folder: Path) -> None:
    samples = (noise(0.5, 16000, seed=1) * 1000).astype(np.int16)  # floats are rounded in either's own way
    write(folder / "b.wav", samples)
    write(folder / "e.flac", samples)
    (folder / "e.flac").rename(folder / "e.wav")
    (folder / "f.wav").write_bytes((folder / "a.wav").read_bytes())
    report = found(part(folder, "one", "a", "b", "f"), part(folder, "two", "c", "e"))
    assert report.duplicates == (
        (Recording("one", "a.wav"), Recording("one", "f.wav")),
        (Recording("one", "b.wav"), Recording("two", "e.wav")),
    )


def test_two_parts_of_one_sound_of_freesound_are_found_in_different_splits_only(folder: Path) -> None:
    one = part(folder, "one", "a", "b", a="7", b="8")
    two = part(folder, "two", "c", "d", c="7", d="9", e="8")  # e is not listed
    assert found(one, two).overlap == {"7": (Recording("one", "a.wav"), Recording("two", "c.wav"))}


def test_a_count_that_is_not_the_published_one_is_found(folder: Path) -> None:
    listed = part(folder, "one", "a", "b")
    assert check([Part("one", listed.listed, {}, published=2)]).clean
    assert not check([Part("one", listed.listed, {}, published=3)]).clean
