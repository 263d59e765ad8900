"""Files that belong together, one way or another to have them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from otoscribe.errors import DownloadError, UsageError
from otoscribe.fetch.assets import FileSet, State
from otoscribe.fetch.published import PublishedFile
from support.file_server import FileServer

CONTENT = {"a.h5": b"a" * 3000, "b.h5": b"b" * 2000, "c.tflite": b"c" * 1000}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    pytest.importorskip("requests", reason="requests comes with otoscribe[metrics]")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FileServer() as running:
        running.files = {f"/{name}": content for name, content in CONTENT.items()}
        yield running


def asset(folder: Path, url: str) -> FileSet:
    """Two files, or one instead."""

    def published(name: str) -> PublishedFile:
        content = CONTENT[name]
        checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
        return PublishedFile(name, (f"{url}/{name}",), len(content), checksum)

    ways = ((published("a.h5"), published("b.h5")), (published("c.tflite"),))
    return FileSet("ears", "hearing", "MIT", 5000, folder / "ears", ways)


@pytest.fixture
def ears(server: FileServer, tmp_path: Path) -> FileSet:
    return asset(tmp_path, server.url)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_first_way_is_fetched_once(server: FileServer, ears: FileSet) -> None:
    assert ears.state() is State.MISSING
    shown: list[str] = []
    ears.install(lambda what, done, total: shown.append(what))
    assert ears.state() is State.WHOLE
    assert names_in(ears.folder) == ["a.h5", "b.h5"]
    assert list(dict.fromkeys(shown)) == ["a.h5", "b.h5"]
    asked = len(server.asked)
    ears.install()
    assert len(server.asked) == asked


def test_another_way_is_for_when_the_first_fails(server: FileServer, ears: FileSet) -> None:
    del server.files["/b.h5"]
    ears.install()
    assert ears.state() is State.WHOLE
    assert (ears.folder / "c.tflite").read_bytes() == CONTENT["c.tflite"]
    asked = len(server.asked)
    ears.install()  # whichever way it is here, nothing is fetched
    assert len(server.asked) == asked


def test_what_is_here_in_part_is_told(server: FileServer, ears: FileSet) -> None:
    ears.install()
    (ears.folder / "b.h5").unlink()
    assert ears.state() is State.PARTIAL
    (ears.folder / "b.h5").write_bytes(b"B" * 2000)
    assert ears.state() is State.PARTIAL
    ears.install()
    assert ears.state() is State.WHOLE
    (ears.folder / "a.h5").rename(ears.folder / "a.h5.part")
    (ears.folder / "b.h5").unlink()
    assert ears.state() is State.PARTIAL


def test_no_way_is_an_error_that_says_what_to_copy(server: FileServer, ears: FileSet) -> None:
    server.files = {"/a.h5": CONTENT["a.h5"]}
    with pytest.raises(DownloadError) as raised:
        ears.install()
    assert str(raised.value) == (
        f"{server.url}/b.h5 answers 404 Not Found. {server.url}/c.tflite answers 404 Not Found. Without a "
        f"network: copy {server.url}/a.h5 and {server.url}/b.h5 into a folder, and type: "
        "otoscribe get ears --from FOLDER"
    )
    assert ears.state() is State.PARTIAL
    (ears.folder / "a.h5").unlink()
    assert ears.state() is State.MISSING  # though the beginning of a part is there, with nothing in it
    server.files["/c.tflite"] = b"C" * 1000
    with pytest.raises(DownloadError, match=r"answers 404 .* c\.tflite .* is not what was published"):
        ears.install()


def test_nothing_is_asked_when_the_environment_says_offline(
    server: FileServer, ears: FileSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTOSCRIBE_OFFLINE", "1")
    with pytest.raises(DownloadError) as raised:
        ears.install()
    assert str(raised.value) == (
        "Nothing is fetched, because OTOSCRIBE_OFFLINE is set. Without a network: copy "
        f"{server.url}/a.h5 and {server.url}/b.h5 into a folder, and type: otoscribe get ears --from FOLDER"
    )
    assert server.asked == []
    assert not ears.folder.exists()
    monkeypatch.setenv("OTOSCRIBE_OFFLINE", "")
    ears.install()
    monkeypatch.setenv("OTOSCRIBE_OFFLINE", "0")  # any value counts
    ears.install()  # it is here
    (ears.folder / "a.h5").unlink()
    with pytest.raises(DownloadError, match="OTOSCRIBE_OFFLINE"):
        ears.install()


@pytest.mark.parametrize("names", [["a.h5", "b.h5"], ["c.tflite"], ["a.h5", "c.tflite"], list(CONTENT)])
def test_either_way_may_be_copied(tmp_path: Path, names: list[str]) -> None:
    ears, source = asset(tmp_path, "http://nowhere.invalid"), tmp_path / "source"
    source.mkdir()
    for name in names:
        (source / name).write_bytes(CONTENT[name])
    ears.install_from(source)
    assert ears.state() is State.WHOLE
    assert ("c.tflite" in names_in(ears.folder)) is ("b.h5" not in names)
    ears.install_from(tmp_path)  # it is here


def test_a_folder_without_either_is_told(tmp_path: Path) -> None:
    ears = asset(tmp_path, "http://nowhere.invalid")
    with pytest.raises(
        DownloadError, match=r"has no a\.h5\. Copy .*/a\.h5 there\. .* has no c\.tflite\. Copy"
    ):
        ears.install_from(tmp_path)
    (tmp_path / "c.tflite").write_bytes(b"C")
    with pytest.raises(DownloadError, match=r"has no a\.h5\. .* c\.tflite from .* is not what was published"):
        ears.install_from(tmp_path)
    for nothing in (tmp_path / "nothing", tmp_path / "c.tflite"):
        with pytest.raises(
            UsageError, match=rf"There is no folder {nothing}\. Give --from one that holds a\.h5"
        ):
            ears.install_from(nothing)
