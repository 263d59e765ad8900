"""Folders of recordings: all that is in them, in an order that depends on names alone."""

import os
from pathlib import Path

import pytest

from otoscribe.errors import AudioError
from otoscribe.listen.folders import recordings_in

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    for name in ("b.wav", "a/z.FLAC", "a.wav", "a/deep/er/c.mp3", "a b.ogg", "B.opus"):
        write(f"sounds/{name}")
    for name in ("a.txt", "wav", "a/captions.csv", ".hidden.wav", "._b.wav", ".git/x.wav", "a/.trash/y.wav"):
        write(f"sounds/{name}")
    return "sounds"


def write(name: str) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).touch()


FOUND = ["B.opus", "a/deep/er/c.mp3", "a/z.FLAC", "a b.ogg", "a.wav", "b.wav"]


def test_recordings_are_found_in_all_folders_and_in_order(folder: str) -> None:
    assert recordings_in([folder]) == [f"sounds/{name}" for name in FOUND]
    assert recordings_in([f"./{folder}/"]) == [f"./sounds/{name}" for name in FOUND]
    absolute = Path.cwd() / folder
    assert recordings_in([str(absolute)]) == [str(absolute / name) for name in FOUND]


def test_the_order_is_not_that_of_the_disk(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    class Backwards:
        def __init__(self, path: str) -> None:
            with scan(path) as entries:
                self.entries = iter(sorted(entries, key=lambda entry: entry.name, reverse=True))

        def __enter__(self) -> "Backwards":
            return self

        def __exit__(self, *_: object) -> None: ...

        def __iter__(self) -> "Backwards":
            return self

        def __next__(self) -> os.DirEntry[str]:
            return next(self.entries)

        def close(self) -> None: ...

    monkeypatch.setattr(os, "scandir", Backwards)
    assert recordings_in([folder]) == [f"sounds/{name}" for name in FOUND]


def test_other_names_stay_what_and_where_they_are(folder: str) -> None:
    names = ["missing.wav", "-", "", "sounds/a.txt", "nul\0", "sounds/a", ".hidden", "sounds/a"]
    a = ["sounds/a/deep/er/c.mp3", "sounds/a/z.FLAC"]
    assert recordings_in(names) == [*names[:5], *a, ".hidden", *a]
    assert recordings_in(["sounds/.git"]) == ["sounds/.git/x.wav"]  # who names it means it


def test_a_folder_without_recordings_is_an_error(folder: str) -> None:
    Path("empty/.hidden").mkdir(parents=True)
    for name in ("empty", "empty/"):
        with pytest.raises(AudioError, match=rf"^{name} holds no recording: no file with an ending such as"):
            recordings_in(["sounds", name])


@posix
def test_links_to_files_are_followed_and_links_to_folders_are_not(folder: str) -> None:
    Path("sounds/again").symlink_to("a", target_is_directory=True)
    Path("sounds/round").symlink_to(".", target_is_directory=True)
    Path("sounds/c.wav").symlink_to("b.wav")
    Path("sounds/d.wav").symlink_to("nowhere")  # which is for whoever reads it to say
    assert recordings_in([folder]) == [f"sounds/{name}" for name in [*FOUND, "c.wav", "d.wav"]]


@posix
def test_names_that_are_no_text_survive(folder: str) -> None:
    name = os.fsdecode(b"a/\xff\xfe.wav")
    write(f"sounds/{name}")
    assert f"sounds/{name}" in recordings_in([folder])


def test_a_folder_that_cannot_be_read_is_an_error(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, os.strerror(13), path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(AudioError, match="sounds cannot be read: permission denied"):
        recordings_in([folder])
