import hashlib
import os
import stat
from pathlib import Path

import pytest

from otoscribe.files import cache_folder, sha256, write_text, written_whole


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.txt"
    with written_whole(path) as temporary:
        assert (temporary.parent, temporary.suffix) == (path.parent, ".txt")
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert names_in(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_block_that_raises_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), written_whole(path) as temporary:  # noqa: PT012
        temporary.write_text("half of the ne")
        raise error
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["a.txt"]


def test_a_name_that_cannot_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"), written_whole(tmp_path / "taken"):
        pass
    assert names_in(tmp_path) == ["taken"]


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
def test_a_written_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_text(tmp_path / "whole", "")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "whole")]
    assert modes[0] == modes[1]


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
def test_also_where_a_library_puts_a_private_file_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with written_whole(tmp_path / "whole") as temporary:
        temporary.unlink()
        temporary.touch(0o600)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "whole")]
    assert modes[0] == modes[1]


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o400])
def test_a_replaced_file_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a"
    path.touch()
    path.chmod(mode)
    with written_whole(path) as temporary:
        assert stat.S_IMODE(temporary.stat().st_mode) & ~(mode | 0o600) == 0
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "x." + "y" * 253, "." + "z" * 200, "two\nlines"])
def test_any_name_that_a_file_may_have(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "a\r\nb\n")
    assert (tmp_path / name).read_bytes() == b"a\r\nb\n"
    assert names_in(tmp_path) == [name]


def test_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with written_whole(path) as first, written_whole(path) as second:
        first.write_text("first")
        second.write_text("second")
    # The inner block ends first, so the outer one has the last word, whole.
    assert path.read_text() == "first"
    assert names_in(tmp_path) == ["a"]


def test_sha256(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "Märchen")
    assert sha256(tmp_path / "a") == hashlib.sha256("Märchen".encode()).hexdigest()


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OTOSCRIBE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("OTOSCRIBE_CACHE", "")
    assert cache_folder().name == "otoscribe"
