"""Tables and archives that belong together: fetched, resumed, unpacked, repaired, or taken from a folder."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from otoscribe.errors import DownloadError, UsageError
from otoscribe.fetch.archives import LIST
from otoscribe.fetch.assets import State
from otoscribe.fetch.collection import Archive, Collection
from otoscribe.fetch.published import PublishedFile
from support.archives import zipped
from support.file_server import FileServer

TABLE = b"file_name,caption_1\nrain.wav,Rain falls\n"
AUDIO = zipped({"development/rain.wav": b"rain" * 50_000, "development/bird.wav": b"bird" * 50_000})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    pytest.importorskip("requests", reason="requests comes with otoscribe[data]")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FileServer() as server:
        server.files = {"/captions.csv": TABLE, "/audio.zip": AUDIO}
        yield server


def collection(folder: Path, url: str = "https://example.org") -> Collection:
    def published(name: str, content: bytes) -> PublishedFile:
        digits = hashlib.md5(content).hexdigest()
        return PublishedFile(name, (f"{url}/{name}",), len(content), f"md5:{digits}")

    archive = Archive(published("audio.zip", AUDIO), "development")
    return Collection("tiny", "tests", "none", folder, (published("captions.csv", TABLE),), (archive,))


def contents(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and path.name != LIST
    }


WHOLE = {"captions.csv": len(TABLE), "development/rain.wav": 200_000, "development/bird.wav": 200_000}


def test_it_is_fetched_and_unpacked_and_the_archive_goes(server: FileServer, tmp_path: Path) -> None:
    asset = collection(tmp_path / "there", server.url)
    assert asset.state() is State.MISSING
    asset.install()
    assert contents(tmp_path / "there") == WHOLE
    assert asset.state() is State.WHOLE
    asked = len(server.asked)
    asset.install()
    assert len(server.asked) == asked


def test_a_cut_download_goes_on_where_it_was(server: FileServer, tmp_path: Path) -> None:
    part = tmp_path / "there" / "audio.zip.part"
    part.parent.mkdir()
    part.write_bytes(AUDIO[:300])
    collection(tmp_path / "there", server.url).install()
    assert f"bytes=300-{len(AUDIO) - 1}" in server.asked
    assert contents(tmp_path / "there") == WHOLE


@pytest.mark.parametrize("stale", [b"of another file" * 10, AUDIO[:-1] + b"!", AUDIO + b"more"])
def test_a_stale_part_repairs_itself(server: FileServer, tmp_path: Path, stale: bytes) -> None:
    part = tmp_path / "there" / "audio.zip.part"
    part.parent.mkdir()
    part.write_bytes(stale)
    asset = collection(tmp_path / "there", server.url)
    assert asset.state() is State.PARTIAL
    asset.install()
    assert contents(tmp_path / "there") == WHOLE


def test_a_recording_that_was_cut_is_written_again(server: FileServer, tmp_path: Path) -> None:
    asset = collection(tmp_path / "there", server.url)
    asset.install()
    (tmp_path / "there" / "development" / "rain.wav").write_bytes(b"rain")
    assert asset.state() is State.PARTIAL
    asset.install()
    assert contents(tmp_path / "there") == WHOLE
    assert asset.state() is State.WHOLE


def test_it_is_taken_from_a_folder_which_stays_as_it_is(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    asset = collection(tmp_path / "there")
    with pytest.raises(
        DownloadError, match=r"has no captions\.csv\. Copy https://example\.org/captions\.csv"
    ):
        asset.install_from(source)
    (source / "captions.csv").write_bytes(TABLE)
    (source / "audio.zip").write_bytes(AUDIO[:-1] + b"!")
    with pytest.raises(DownloadError, match=r"audio\.zip from .* is not what was published"):
        asset.install_from(source)
    assert asset.state() is State.PARTIAL
    (source / "audio.zip").write_bytes(AUDIO)
    asset.install_from(source)
    assert contents(tmp_path / "there") == WHOLE
    assert sorted(path.name for path in source.iterdir()) == ["audio.zip", "captions.csv"]
    with pytest.raises(UsageError, match=r"Give --from one that holds captions\.csv and audio\.zip"):
        asset.install_from(tmp_path / "nowhere")


def test_without_a_network_it_says_which_files_to_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTOSCRIBE_OFFLINE", "1")
    with pytest.raises(DownloadError) as raised:
        collection(tmp_path / "there").install()
    assert "copy https://example.org/captions.csv and https://example.org/audio.zip" in str(raised.value)
    assert str(raised.value).endswith("otoscribe get tiny --from FOLDER")
