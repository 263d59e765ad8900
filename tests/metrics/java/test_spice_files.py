"""SPICE's files: installed from a local server, from folders and from archives of every kind."""

import hashlib
import io
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otoscribe.errors import DownloadError, MetricError, UsageError
from otoscribe.fetch.published import PublishedFile
from otoscribe.metrics.java.spice_files import MEMBERS, SpiceFiles
from support.file_server import FileServer

pytest.importorskip("requests", reason="requests comes with otoscribe[metrics]")

CHANCE = random.Random(0)
CORENLP = CHANCE.randbytes(40_000)
PARSER = "edu/models/parser.ser.gz"
CONTENT = {
    PARSER: CHANCE.randbytes(500_000),
    "edu/models/dcoref/countries": b"france\n" * 500,
    "edu/models/dcoref/states": b"ohio\n" * 50,
}


def packed(content: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return file.getvalue()


OTHERS = {f"edu/models/other{number}.ser.gz": CHANCE.randbytes(400_000) for number in range(10)}
STRANGERS = {
    "../../escaped.txt": b"!",
    "/etc/absolute": b"!",
    "edu\\models\\dcoref\\countries": b"!",
    "other/edu/models/dcoref/countries": b"another",
    **{f"edu/models/big{number}": data for number, data in enumerate(OTHERS.values())},
}
MODELS = packed(STRANGERS | dict(list(CONTENT.items())[:1]) | OTHERS | dict(list(CONTENT.items())[1:]))


def published(name: str, url: str, content: bytes) -> PublishedFile:
    return PublishedFile(name, (url,), len(content), f"sha256:{hashlib.sha256(content).hexdigest()}")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OTOSCRIBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache" / "spice"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "source"
    made.mkdir()
    return made


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        running.files = {"/stanford-corenlp-3.6.0.jar": CORENLP, "/stanford-corenlp-3.6.0-models.jar": MODELS}
        yield running


@pytest.fixture
def spice(server: FileServer) -> SpiceFiles:
    return planted(server.url)


def planted(url: str) -> SpiceFiles:
    corenlp, models = "stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar"
    return SpiceFiles(
        published(corenlp, f"{url}/{corenlp}", CORENLP),
        published(models, f"{url}/{models}", MODELS),
        tuple(published(name, f"{url}/{models}", data) for name, data in CONTENT.items()),
    )


def files_in(folder: Path) -> dict[str, bytes]:
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    return dict(sorted(found.items()))


INSTALLED = dict(sorted({"stanford-corenlp-3.6.0.jar": CORENLP, **CONTENT}.items()))


def test_only_what_is_needed_is_fetched(server: FileServer, spice: SpiceFiles, folder: Path) -> None:
    told: list[tuple[str, int, int]] = []
    spice.install(lambda *done: told.append(done))
    assert files_in(folder) == INSTALLED
    assert spice.find() == (folder / "stanford-corenlp-3.6.0.jar", folder)
    assert server.sent < len(MODELS) / 3
    assert told[-1] == ("stanford-corenlp-3.6.0-models.jar", 3, 3)
    asked = len(server.asked)
    spice.install()
    assert len(server.asked) == asked
    assert list(folder.parent.parent.rglob("escaped.txt")) == []


def test_a_server_without_ranges_gives_the_whole_archive(
    server: FileServer, spice: SpiceFiles, folder: Path
) -> None:
    server.ranges = False

    def interrupt(what: str, done: int, total: int) -> None:
        if "models" in what and done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        spice.install(interrupt)
    assert "stanford-corenlp-3.6.0-models.jar.part" in files_in(folder)
    spice.install()
    assert files_in(folder) == INSTALLED


def test_an_interrupted_installation_goes_on(server: FileServer, spice: SpiceFiles, folder: Path) -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        if "models" in what and done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        spice.install(interrupt)
    assert list(files_in(folder)) == [PARSER, "stanford-corenlp-3.6.0.jar"]
    with pytest.raises(MetricError, match="edu/models/dcoref/countries, edu/models/dcoref/states"):
        spice.find()
    sent = server.sent
    spice.install()
    assert files_in(folder) == INSTALLED
    assert server.sent - sent < 700_000  # neither the jar nor the parser again


@pytest.mark.parametrize("name", list(INSTALLED))
def test_a_damaged_file_is_found_and_mended(spice: SpiceFiles, folder: Path, name: str) -> None:
    spice.install()
    whole = (folder / name).read_bytes()
    for damaged in (whole[:-1], whole[:-1] + b"!"):
        (folder / name).write_bytes(damaged)
        with pytest.raises(MetricError, match=rf"{name}\. Type: otoscribe get spice$"):
            spice.find()
    assert [file.name for file in spice.missing()] == [name]
    spice.install()
    assert files_in(folder) == INSTALLED


def test_nothing_installed_says_what_to_type(spice: SpiceFiles, folder: Path) -> None:
    with pytest.raises(MetricError) as error:
        spice.find()
    assert str(error.value) == f"SPICE's files are not installed in {folder}. Type: otoscribe get spice"


def test_without_a_network_the_error_says_what_to_copy(folder: Path) -> None:
    with FileServer() as gone:
        pass
    spice = planted(gone.url)
    with pytest.raises(DownloadError) as error:
        spice.install()
    assert str(error.value) == (
        f"{spice.corenlp.urls[0]} cannot be fetched: there is no connection. Without a network: copy "
        f"{spice.corenlp.urls[0]} and {spice.models.urls[0]} into a folder, and type: "
        "otoscribe get spice --from FOLDER"
    )


@pytest.mark.parametrize(
    ("models", "problem"),
    [
        (packed(OTHERS), "has no edu/models/"),
        (
            packed(OTHERS | CONTENT | {"edu/models/parser.ser.gz": b"x" * 500_000}),
            "is not what was published",
        ),
        (
            packed(OTHERS | CONTENT | {"edu/models/parser.ser.gz": b"x" * 600_000}),
            "has no edu/models/parser",
        ),
        (b"<html>" * 400_000, "cannot be read as an archive: File is not a zip file"),
        (packed(OTHERS | CONTENT, zipfile.ZIP_STORED).replace(b"ohio", b"utah", 1), "Bad CRC-32"),
    ],
)
def test_other_models_than_published_are_refused(
    server: FileServer, folder: Path, models: bytes, problem: str
) -> None:
    server.files["/stanford-corenlp-3.6.0-models.jar"] = models
    spice = planted(server.url)
    spice = SpiceFiles(
        spice.corenlp, published(spice.models.name, spice.models.urls[0], models), spice.members
    )
    with pytest.raises(DownloadError, match=problem):
        spice.install()
    for name, content in files_in(folder).items():
        assert INSTALLED[name] == content


def as_published(source: Path) -> Path:
    (source / "stanford-corenlp-3.6.0.jar").write_bytes(CORENLP)
    (source / "stanford-corenlp-3.6.0-models.jar").write_bytes(MODELS)
    return source


def packed_anew(source: Path) -> Path:
    (source / "stanford-corenlp-3.6.0.jar").write_bytes(CORENLP)
    (source / "stanford-corenlp-3.6.0-models-spice.jar").write_bytes(packed(CONTENT))
    return source


def unpacked(source: Path) -> Path:
    for name, content in INSTALLED.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    return source


def of_stanford(source: Path) -> Path:
    inside = {
        "stanford-corenlp-full-2015-12-09/stanford-corenlp-3.6.0.jar": CORENLP,
        "stanford-corenlp-full-2015-12-09/stanford-corenlp-3.6.0-models.jar": MODELS,
    }
    (source / "stanford-corenlp-full-2015-12-09.zip").write_bytes(packed(inside))
    return source


def one_jar(source: Path) -> Path:
    return packed_anew(source) / "stanford-corenlp-3.6.0-models-spice.jar"


def renamed_zip(source: Path) -> Path:
    return (of_stanford(source) / "stanford-corenlp-full-2015-12-09.zip").rename(source / "corenlp (1).zip")


def partly_damaged(source: Path) -> Path:
    packed_anew(source)
    damaged = {**CONTENT, PARSER: b"x" * 500_000}
    (source / "stanford-corenlp-3.6.0-models.jar").write_bytes(packed(damaged))
    return source


@pytest.mark.parametrize(
    "make", [as_published, packed_anew, unpacked, of_stanford, one_jar, renamed_zip, partly_damaged]
)
def test_installation_from_this_machine(folder: Path, source: Path, make: Callable[[Path], Path]) -> None:
    spice = planted("http://nowhere.invalid")
    given = make(source)
    folder.mkdir(parents=True)
    for name in (spice.corenlp.name, spice.models.name):  # left by an interrupted download
        (folder / f"{name}.part").write_bytes(b"half")
    spice.install_from(given)
    assert files_in(folder) == INSTALLED
    spice.install_from(given)
    assert files_in(folder) == INSTALLED


def test_a_folder_that_lacks_something_is_named(folder: Path, source: Path) -> None:
    spice = planted("http://maven.invalid")
    (source / "stanford-corenlp-3.6.0.jar").write_bytes(CORENLP[:-1] + b"!")
    with pytest.raises(DownloadError) as error:
        spice.install_from(source)
    assert str(error.value) == (
        f"{source} lacks, or has damaged: {', '.join(['stanford-corenlp-3.6.0.jar', *CONTENT])}. Copy "
        f"{spice.corenlp.urls[0]} and {spice.models.urls[0]} there."
    )
    as_published(source)
    (source / "stanford-corenlp-3.6.0-models.jar").write_bytes(MODELS[:-1000])
    with pytest.raises(DownloadError, match=r"models\.jar cannot be read as an archive"):
        spice.install_from(source)
    with pytest.raises(UsageError, match="does not exist"):
        spice.install_from(source / "nothing")


def test_a_full_disk_is_a_sentence(folder: Path, source: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("no folder")
    with pytest.raises(DownloadError, match="cannot be written"):
        planted("http://maven.invalid").install_from(as_published(source))


def test_the_fingerprint_tells_every_file(spice: SpiceFiles) -> None:
    changed = SpiceFiles(spice.corenlp, spice.models, (*spice.members[:2], MEMBERS[0]))
    assert len({spice.fingerprint, changed.fingerprint, SpiceFiles().fingerprint}) == 3
    assert len(spice.fingerprint) == 64


def test_the_published_files(shared_data: Path, folder: Path) -> None:
    spice = SpiceFiles()
    spice.install_from(shared_data / "spice")
    assert spice.missing() == []
    assert spice.find() == (folder / "stanford-corenlp-3.6.0.jar", folder)
    assert sum(file.bytes or 0 for file in spice.wanted) == 16_668_005
    assert len(files_in(folder)) == 9
