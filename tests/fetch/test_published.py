"""Published files: fetched from a local server with every fault that a server may have."""

import errno
import hashlib
import io
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from otoscribe.errors import DownloadError
from otoscribe.fetch.published import PublishedFile, copy, download, keep
from otoscribe.fetch.remote import RangesRefusedError, RemoteFile, UnreachableError
from support.file_server import FileServer

pytest.importorskip("requests", reason="requests comes with otoscribe[metrics]")

CONTENT = random.Random(0).randbytes(300_000)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FileServer() as running:
        running.files["/a.jar"] = CONTENT
        yield running


@pytest.fixture
def file(server: FileServer) -> PublishedFile:
    return published(server, "deep/a.jar", CONTENT)


def published(server: FileServer, name: str, content: bytes) -> PublishedFile:
    checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return PublishedFile(name, (f"{server.url}/a.jar",), len(content), checksum)


def unsized(file: PublishedFile) -> PublishedFile:
    return replace(file, bytes=None)


def unchecked(file: PublishedFile) -> PublishedFile:
    return replace(file, bytes=None, checksum=None)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def put_part(folder: Path, content: bytes) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "a.jar.part").write_bytes(content)


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("sized", [True, False])
def test_a_file_is_fetched_once(
    server: FileServer, file: PublishedFile, tmp_path: Path, ranges: bool, sized: bool
) -> None:
    server.ranges = ranges
    told: list[tuple[str, int, int]] = []
    wanted = file if sized else unsized(file)
    download(wanted, tmp_path, lambda *done: told.append(done))
    assert (tmp_path / "deep" / "a.jar").read_bytes() == CONTENT
    assert names_in(tmp_path) == ["a.jar"]
    assert told[-1] == ("deep/a.jar", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    asked = len(server.asked)
    download(wanted, tmp_path)
    assert len(server.asked) == asked


@pytest.mark.parametrize("sized", [True, False])
def test_an_interrupted_download_goes_on_where_it_was(
    server: FileServer, file: PublishedFile, tmp_path: Path, sized: bool
) -> None:
    def interrupt(_: str, done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    wanted = file if sized else unsized(file)
    with pytest.raises(KeyboardInterrupt):
        download(wanted, tmp_path, interrupt)
    had = (tmp_path / "deep" / "a.jar.part").stat().st_size
    assert had > len(CONTENT) / 2
    download(wanted, tmp_path)
    assert server.asked[-1] == f"bytes={had}-{len(CONTENT) - 1}"
    assert (tmp_path / "deep" / "a.jar").read_bytes() == CONTENT
    assert names_in(tmp_path) == ["a.jar"]


def test_a_download_goes_on_with_a_server_that_cuts_every_answer(
    server: FileServer, file: PublishedFile, tmp_path: Path
) -> None:
    server.cut = 100_000
    download(file, tmp_path)
    assert (tmp_path / "deep" / "a.jar").read_bytes() == CONTENT
    assert len(server.asked) >= 3


def test_a_server_that_ignores_ranges_repeats_what_is_there(
    server: FileServer, file: PublishedFile, tmp_path: Path
) -> None:
    server.ranges = False
    put_part(tmp_path, CONTENT[:70_000])
    download(file, tmp_path)
    assert (tmp_path / "deep" / "a.jar").read_bytes() == CONTENT
    assert len(server.asked) == 1


@pytest.mark.parametrize("part", [CONTENT, CONTENT[:-1], b"", b"x" * 1000, CONTENT + b"x", b"x" * 400_000])
@pytest.mark.parametrize("sized", [True, False])
def test_whatever_an_earlier_download_left(
    file: PublishedFile, tmp_path: Path, part: bytes, sized: bool
) -> None:
    put_part(tmp_path, part)
    download(file if sized else unsized(file), tmp_path)
    assert (tmp_path / "deep" / "a.jar").read_bytes() == CONTENT
    assert names_in(tmp_path) == ["a.jar"]


@pytest.mark.parametrize("damaged", [CONTENT[:1000] + b"x", CONTENT[:-1], b""])
def test_a_damaged_file_is_fetched_again(file: PublishedFile, tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.jar").write_bytes(damaged)
    assert not file.is_in(tmp_path)
    download(file, tmp_path)
    assert file.is_whole_in(tmp_path)


def test_a_changed_byte_is_found_by_the_checksum_alone(file: PublishedFile, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.jar").write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    assert file.is_in(tmp_path)
    assert not file.is_whole_in(tmp_path)
    download(file, tmp_path)
    assert file.is_whole_in(tmp_path)


@pytest.mark.parametrize(
    "sent", [CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]), b"<html>Please log in</html>", b"", CONTENT[1:]]
)
@pytest.mark.parametrize("ranges", [True, False])
def test_other_bytes_than_published_are_refused(
    server: FileServer, file: PublishedFile, tmp_path: Path, sent: bytes, ranges: bool
) -> None:
    server.files["/a.jar"] = sent
    server.ranges = ranges
    with pytest.raises(DownloadError, match=r"a\.jar (from|answers|cannot be fetched)"):
        download(file, tmp_path)
    assert not (tmp_path / "deep" / "a.jar").exists()
    # And no part of them spoils the next attempt.
    server.files["/a.jar"] = CONTENT
    download(file, tmp_path)
    assert file.is_whole_in(tmp_path)


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_a_refusal_is_named(server: FileServer, file: PublishedFile, tmp_path: Path, status: int) -> None:
    server.status = status
    with pytest.raises(DownloadError, match=f"a.jar answers {status} "):
        download(file, tmp_path)


def test_another_part_than_asked_for_is_refused(
    server: FileServer, file: PublishedFile, tmp_path: Path
) -> None:
    server.shift = 1
    with pytest.raises(DownloadError, match="answers 206 "):
        download(file, tmp_path)


@pytest.mark.parametrize("sized", [True, False])
def test_an_answer_that_never_comes_is_an_error(
    server: FileServer, file: PublishedFile, tmp_path: Path, sized: bool
) -> None:
    server.cut = 0
    wanted = file if sized else unsized(file)
    match = "connection ended too early"
    if not sized:  # one byte is asked for, to learn the size
        server.says_size, server.ranges, match = False, False, "does not say how large it is"
    with pytest.raises(DownloadError, match=match):
        download(wanted, tmp_path)


@pytest.mark.parametrize("sized", [True, False])
def test_no_network_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sized: bool) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FileServer() as gone:
        pass
    wanted = published(gone, "a.jar", CONTENT)
    with pytest.raises(DownloadError, match=r"a\.jar cannot be fetched: there is no connection\."):
        download(wanted if sized else unsized(wanted), tmp_path)


def test_a_full_disk_is_an_error_and_costs_nothing_that_was_fetched(
    file: PublishedFile, tmp_path: Path
) -> None:
    full = True

    def fill(_: str, done: int, total: int) -> None:
        if full and done > total / 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DownloadError, match=r"a\.jar cannot be written: no space left on device\."):
        download(file, tmp_path, fill)
    assert (tmp_path / "deep" / "a.jar.part").exists()
    full = False
    download(file, tmp_path, fill)
    assert file.is_whole_in(tmp_path)


def test_a_folder_that_cannot_be_written_is_an_error(file: PublishedFile, tmp_path: Path) -> None:
    (tmp_path / "deep").write_text("a file")
    with pytest.raises(DownloadError, match="cannot be written"):
        download(file, tmp_path)


def test_two_downloads_at_once_both_succeed(server: FileServer, file: PublishedFile, tmp_path: Path) -> None:
    failures: list[BaseException] = []
    together = threading.Barrier(4)

    def fetch() -> None:
        try:
            together.wait()
            download(file, tmp_path)
        except BaseException as error:
            failures.append(error)

    for _ in range(5):
        threads = [threading.Thread(target=fetch) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert file.is_whole_in(tmp_path)
        (tmp_path / "deep" / "a.jar").unlink()
        for left in tmp_path.rglob("*.part"):
            left.unlink()


def test_a_download_that_another_overtook_leaves_what_others_make(
    file: PublishedFile, tmp_path: Path
) -> None:
    part = tmp_path / "deep" / "a.jar.part"

    def overtake(_: str, done: int, total: int) -> None:
        if done == total:
            part.replace(tmp_path / "deep" / "a.jar")
            part.write_bytes(b"beginning")

    download(file, tmp_path, overtake)
    assert file.is_whole_in(tmp_path)
    assert part.read_bytes() == b"beginning"


def test_a_part_that_vanishes_is_an_error(file: PublishedFile, tmp_path: Path) -> None:
    part = tmp_path / "deep" / "a.jar.part"
    with pytest.raises(DownloadError, match=r"a\.jar\.part was removed meanwhile"):
        download(file, tmp_path, lambda _, done, total: part.unlink() if done == total else None)


def test_content_from_elsewhere_is_kept_if_it_is_what_was_published(
    file: PublishedFile, tmp_path: Path
) -> None:
    with pytest.raises(DownloadError, match=r"deep/a\.jar from a\.zip is not what was published"):
        keep(file, tmp_path, io.BytesIO(CONTENT[:-1]), "a.zip")
    assert names_in(tmp_path) == []
    keep(file, tmp_path, io.BytesIO(CONTENT), "a.zip")
    assert file.is_whole_in(tmp_path)


@pytest.mark.parametrize(
    "checksum",
    [
        "sha256:95d09f2b10159347eece71399a7e2e907ea3df4f",  # of another length
        "sha1:95d09f2b10159347eece71399a7e2e907ea3df4f",
        "SHA256:" + 64 * "0",
        64 * "0",
        "",
    ],
)
def test_a_checksum_of_an_unknown_kind_is_refused(checksum: str) -> None:
    with pytest.raises(ValueError, match="checksum of an unknown kind"):
        PublishedFile("a.jar", ("http://nowhere.invalid",), None, checksum)


def test_a_file_has_an_address() -> None:
    with pytest.raises(ValueError, match="no address"):
        PublishedFile("a.jar", (), None, "sha256:" + 64 * "0")


@pytest.mark.parametrize(
    "checksum",
    [  # of "hello world" and a line feed, as `sha256sum`, `md5sum` and `git hash-object` print them
        "sha256:a948904f2f0f479b8f8197694b30184b0d2ed1c1cd2a1ec0fb85d299a192a447",
        "md5:6f5902ac237024bdd0c176cb93063dc4",
        "git:3b18e512dba79e4c8300dd08aeb37f8e728b8dad",
    ],
)
@pytest.mark.parametrize("sized", [True, False])
def test_a_checksum_of_every_kind(server: FileServer, tmp_path: Path, checksum: str, sized: bool) -> None:
    server.files["/a.jar"] = b"hello world\n"
    file = PublishedFile("a.jar", (f"{server.url}/a.jar",), 12 if sized else None, checksum)
    assert not file.is_whole_in(tmp_path)
    download(file, tmp_path)
    assert file.is_whole_in(tmp_path)
    (tmp_path / "a.jar").write_bytes(b"hello World\n")
    assert not file.is_whole_in(tmp_path)
    server.files["/a.jar"] = b"hello World\n"
    with pytest.raises(DownloadError, match=rf"not what was published: its checksum is not {checksum}\."):
        download(file, tmp_path)


def mirrored(server: FileServer, file: PublishedFile, *first: str) -> PublishedFile:
    return replace(file, urls=(*(f"{server.url}{path}" for path in first), *file.urls))


@pytest.mark.parametrize("sized", [True, False])
def test_the_next_address_is_for_when_one_fails(
    server: FileServer, file: PublishedFile, tmp_path: Path, sized: bool
) -> None:
    server.files["/old.jar"] = b"another version"
    wanted = mirrored(server, file, "/gone.jar", "/old.jar")
    download(wanted if sized else unsized(wanted), tmp_path)
    assert file.is_whole_in(tmp_path)
    assert names_in(tmp_path) == ["a.jar"]


def test_the_next_address_goes_on_where_one_broke_off(
    server: FileServer, file: PublishedFile, tmp_path: Path
) -> None:
    server.files["/short.jar"] = CONTENT[:100_000]
    download(mirrored(server, file, "/short.jar"), tmp_path)
    assert file.is_whole_in(tmp_path)
    assert server.asked[-1] == f"bytes=100000-{len(CONTENT) - 1}"


def test_every_address_that_failed_is_named(server: FileServer, file: PublishedFile, tmp_path: Path) -> None:
    del server.files["/a.jar"]
    wanted = mirrored(server, file, "/b.jar")
    with pytest.raises(UnreachableError, match=r"/b\.jar answers 404 .*/a\.jar answers 404 "):
        download(wanted, tmp_path)
    server.files["/b.jar"] = CONTENT[::-1]
    with pytest.raises(DownloadError, match=r"/b\.jar is not what was .*/a\.jar answers 404 ") as raised:
        download(wanted, tmp_path)
    assert not isinstance(raised.value, UnreachableError)  # a network there is


@pytest.mark.parametrize("name", ["deep/a.jar", "a.jar", "b 1.jar", "content"])
def test_a_copy_may_have_the_name_that_a_browser_gave_it(
    file: PublishedFile, tmp_path: Path, name: str
) -> None:
    wanted = replace(file, urls=("http://x.invalid/b%201.jar?download=1", "http://x.invalid/content#1"))
    source = tmp_path / "downloads"
    (source / name).parent.mkdir(parents=True)
    (source / name).write_bytes(CONTENT)
    if name == "content":
        (source / "a.jar").write_bytes(b"something else")
    copy(wanted, tmp_path / "cache", source)
    assert wanted.is_whole_in(tmp_path / "cache")


def test_a_copy_of_something_else_or_nothing_is_an_error(file: PublishedFile, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=rf"has no deep/a\.jar or a\.jar\. Copy {file.urls[0]} there\."):
        copy(file, tmp_path / "cache", tmp_path)
    (tmp_path / "a.jar").write_bytes(CONTENT[1:])
    with pytest.raises(DownloadError, match=r"deep/a\.jar from .* is not what was published"):
        copy(file, tmp_path / "cache", tmp_path)
    assert not (tmp_path / "cache").exists()


def test_a_remote_file_reads_as_a_local_one(server: FileServer, file: PublishedFile) -> None:
    local = io.BytesIO(CONTENT)
    chance = random.Random(1)
    with RemoteFile(file.urls[0], len(CONTENT)) as remote, io.BufferedReader(remote, 5000) as buffered:
        for _ in range(60):
            whence = chance.choice((0, 1, 2))
            offset = {0: chance.randrange(310_000), 1: chance.randrange(4000), 2: -chance.randrange(9000)}
            assert buffered.seek(offset[whence], whence) == local.seek(offset[whence], whence)
            count = chance.randrange(12_000)
            assert buffered.read(count) == local.read(count)
    assert server.sent < 60 * 20_000


def test_a_remote_file_survives_cuts_and_needs_ranges(server: FileServer, file: PublishedFile) -> None:
    server.cut = 20_000
    with RemoteFile(file.urls[0], len(CONTENT)) as remote:
        remote.seek(1234)
        assert remote.read(50_000) == CONTENT[1234:51_234]
        assert len(server.asked) == 3
        server.ranges = False
        with pytest.raises(RangesRefusedError, match="whole files only"):
            remote.read(10)


def test_a_file_without_a_stated_checksum_is_known_by_its_size(
    server: FileServer, file: PublishedFile, tmp_path: Path
) -> None:
    put_part(tmp_path, CONTENT[:1000])
    for _ in range(2):
        download(unchecked(file), tmp_path)
    assert (tmp_path / file.name).read_bytes() == CONTENT
    assert unchecked(file).is_whole_in(tmp_path)
    sized = replace(file, checksum=None)
    assert sized.is_whole_in(tmp_path)
    (tmp_path / "browser").mkdir()
    (tmp_path / "browser" / "a.jar").write_bytes(CONTENT[:-1])
    with pytest.raises(DownloadError, match=f"its size is not {len(CONTENT)}"):
        copy(sized, tmp_path / "copied", tmp_path / "browser")
