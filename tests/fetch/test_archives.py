"""Unpacking: members inside their folder, whole or not at all, and repaired when the call is repeated."""

import contextlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from otoscribe.errors import DownloadError
from otoscribe.fetch.archives import LIST, is_unpacked, unpack

MEMBERS = {
    "development/rain.wav": b"rain" * 100_000,
    "development/ a bird.wav": b"bird",
    "development/caf\xe9.wav": b"",
}
OWN = {name.rpartition("/")[2]: content for name, content in MEMBERS.items()}
CHECKSUM = "md5:" + "0" * 32


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("development/", b"")
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_7z(path: Path, members: dict[str, bytes]) -> Path:
    py7zr = pytest.importorskip("py7zr", reason="7z archives need otoscribe[data].")
    with py7zr.SevenZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writef(io.BytesIO(content), name)
    return path


Write = Callable[[Path, dict[str, bytes]], Path]


@pytest.fixture(params=["zip", "7z"])
def write(request: pytest.FixtureRequest) -> Write:
    return write_zip if request.param == "zip" else write_7z


@pytest.fixture
def archive(write: Write, tmp_path: Path) -> Path:
    return write(tmp_path / f"audio.{write.__name__.removeprefix('write_')}", MEMBERS)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != LIST}


def test_members_go_into_the_folder_without_their_own(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    told: list[tuple[str, int, int]] = []
    assert not is_unpacked(folder, CHECKSUM)
    unpack(archive, folder, CHECKSUM, lambda *progress: told.append(progress))
    assert contents(folder) == OWN
    assert is_unpacked(folder, CHECKSUM)
    assert not is_unpacked(folder, "md5:" + "1" * 32)
    assert told[-1] == (f"unpacking {archive.name}", 3, 3)


@pytest.mark.parametrize(
    "damage",
    [Path.unlink, lambda path: path.write_bytes(b"rain"), lambda path: path.write_bytes(b"x" * 400_000)],
    ids=["gone", "cut", "other"],
)
def test_what_is_not_whole_is_repaired_and_nothing_else_written(
    archive: Path, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    folder = tmp_path / "there"
    unpack(archive, folder, CHECKSUM)
    kept = (folder / " a bird.wav").stat().st_ino
    damage(folder / "rain.wav")
    (folder / ".rain.0123.wav").write_bytes(b"left by a killed process")
    unpack(archive, folder, CHECKSUM)
    assert contents(folder) == OWN
    assert (folder / " a bird.wav").stat().st_ino == kept


def test_a_file_that_was_cut_since_is_noticed(archive: Path, tmp_path: Path) -> None:
    unpack(archive, tmp_path / "there", CHECKSUM)
    (tmp_path / "there" / "rain.wav").write_bytes(b"rain")
    assert not is_unpacked(tmp_path / "there", CHECKSUM)
    (tmp_path / "there" / LIST).write_text("[]")
    assert not is_unpacked(tmp_path / "there", CHECKSUM)


@pytest.mark.parametrize("name", ["../out.wav", "a/../../out.wav", "/out.wav", "..\\out.wav"])
def test_no_member_leaves_the_folder(write: Write, tmp_path: Path, name: str) -> None:
    (tmp_path / "inside").mkdir()
    path = write_zip(tmp_path / "a.zip", {name: b"sound"}) if write is write_zip else None
    if path is None:  # py7zr does not write such names itself
        path = tmp_path / "a.7z"
        write_7z(path, {"x" * len(name): b"sound"})
        renamed = path.read_bytes().replace(("x" * len(name)).encode("utf-16-le"), name.encode("utf-16-le"))
        path.write_bytes(renamed)
    before = set(tmp_path.rglob("*"))
    with contextlib.suppress(DownloadError):  # py7zr refuses them
        unpack(path, tmp_path / "inside" / "there", CHECKSUM)
    for found in set(tmp_path.rglob("*")) - before:
        assert (tmp_path / "inside" / "there") in (found, *found.parents)


@pytest.mark.parametrize("names", [["a/..", "b"], ["a/x.wav", "b/x.wav"], [LIST]])
def test_names_that_no_file_can_have_are_refused(tmp_path: Path, names: list[str]) -> None:
    path = write_zip(tmp_path / "a.zip", dict.fromkeys(names, b"sound"))
    with pytest.raises(DownloadError, match="has a member that cannot be unpacked"):
        unpack(path, tmp_path / "there", CHECKSUM)
    assert not (tmp_path / "there").exists()


def test_a_damaged_archive_is_an_error_and_leaves_no_half_file(archive: Path, tmp_path: Path) -> None:
    data = archive.read_bytes()
    folder = tmp_path / "there"
    for size in range(0, len(data), max(1, len(data) // 40)):
        archive.write_bytes(data[:size])
        with pytest.raises(DownloadError, match="is no archive, or damaged"):
            unpack(archive, folder, CHECKSUM)
    for at in range(40, len(data), max(1, len(data) // 60)):
        archive.write_bytes(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])
        try:
            unpack(archive, folder, CHECKSUM)
        except DownloadError:
            assert not (folder / LIST).exists()
        if folder.exists():
            assert all(OWN.get(name, content) == content for name, content in contents(folder).items())
            for path in folder.iterdir():
                path.unlink()


def test_a_folder_that_cannot_be_written_is_an_error(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DownloadError, match=r"cannot be unpacked in .*: (not a directory|file exists)"):
        unpack(archive, tmp_path / "file", CHECKSUM)


def test_the_list_is_written_last(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "there"

    class KilledError(BaseException):
        pass

    def kill(what: str, done: int, total: int) -> None:
        if done == 2:
            raise KilledError

    with pytest.raises((KilledError, DownloadError)):
        unpack(archive, folder, CHECKSUM, kill)
    assert not is_unpacked(folder, CHECKSUM)
    unpack(archive, folder, CHECKSUM)
    assert contents(folder) == OWN
    assert json.loads((folder / LIST).read_text())["archive"] == CHECKSUM
