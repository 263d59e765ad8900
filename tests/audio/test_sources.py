"""What a recording can be read from: paths, bytes, open files, pipes."""

import io
import mmap
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from otoscribe.audio import reading, sources
from otoscribe.audio.waveform import Audio
from otoscribe.errors import AudioError, UsageError
from support.encoded import encoded
from support.recordings import noise, write

CONTENT = encoded("m4a", noise(1, 16000))  # with its index at the end, so that it must be searched


def load(recording: object) -> Audio:
    return reading.load(recording, 16000)


WHOLE = load(CONTENT)


class Unseekable(io.RawIOBase):
    """A pipe, as far as Python can tell."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._content.read(size)


class Generous(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        return super().read(-1 if size is None or size < 0 else 2 * size)


class Failing(io.BytesIO):
    def __init__(self, content: bytes, error: BaseException) -> None:
        super().__init__(content)
        self._error = error

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > 1000:
            raise self._error
        return super().read(size)


def at(place: int) -> io.BytesIO:
    file = io.BytesIO(b"x" * place + CONTENT)
    file.seek(place)
    return file


@pytest.mark.parametrize(
    "recording",
    [
        CONTENT,
        bytearray(CONTENT),
        memoryview(CONTENT),
        io.BytesIO(CONTENT),
        at(777),
        Unseekable(CONTENT),
        Generous(CONTENT),
    ],
    ids=lambda recording: type(recording).__name__,
)
def test_all_give_the_same_samples(recording: object) -> None:
    np.testing.assert_array_equal(load(recording).waveform, WHOLE.waveform)


def test_a_path_and_an_open_file_give_the_same_samples(tmp_path: Path) -> None:
    path = tmp_path / "a b.m4a"
    path.write_bytes(CONTENT)
    with path.open("rb") as file, path.open("rb", buffering=0) as raw:
        for recording in (path, str(path), file, raw):
            np.testing.assert_array_equal(load(recording).waveform, WHOLE.waveform)
        assert sources.name_of(file) == str(path)
    assert sources.name_of(CONTENT) is sources.name_of(io.BytesIO()) is None


def test_a_pipe_gives_the_same_samples() -> None:
    read, written = os.pipe()

    def send() -> None:
        with os.fdopen(written, "wb") as pipe:
            pipe.write(CONTENT)

    sender = threading.Thread(target=send)
    sender.start()
    with os.fdopen(read, "rb") as pipe:
        np.testing.assert_array_equal(load(pipe).waveform, WHOLE.waveform)
    sender.join()


def test_no_more_is_given_than_was_asked_for() -> None:
    with sources.opened(Generous(CONTENT)) as source:
        assert source.read(0, 10) == CONTENT[:10]


def test_a_mapped_file(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    path.write_bytes(CONTENT)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        np.testing.assert_array_equal(load(mapped).waveform, WHOLE.waveform)


def test_an_endless_pipe_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(Unseekable):
        def read(self, size: int = -1) -> bytes:
            return bytes(size)

    monkeypatch.setattr(sources, "LARGEST_PIPE", 1 << 22)
    with pytest.raises(AudioError, match="save the recording to a file first"):
        load(Endless(b""))


class Waiting(Unseekable):
    def read(self, size: int = -1) -> bytes | None:
        return super().read(100) if self._content.tell() < 1000 else None


def past_its_end() -> io.BytesIO:
    file = io.BytesIO(CONTENT)
    file.seek(len(CONTENT) + 100)
    return file


def closed() -> io.BytesIO:
    file = io.BytesIO(CONTENT)
    file.close()
    return file


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (closed, "cannot be read: i/o operation on closed file"),
        (lambda: io.StringIO("text"), "open it in binary mode"),
        (lambda: Failing(CONTENT, OSError(5, "Input/output error")), "cannot be read: input/output error"),
        (lambda: io.BytesIO(), r"is empty \(0 bytes\)"),
        (lambda: Unseekable(b""), r"is empty \(0 bytes\)"),
        (lambda: b"", r"is empty \(0 bytes\)"),
        (lambda: b"park.wav", "is text"),
        (lambda: past_its_end(), "is empty"),
        (
            lambda: Failing(CONTENT, EOFError("Compressed file ended")),
            "cannot be read: compressed file ended",
        ),
        (lambda: Failing(CONTENT, RuntimeError()), "cannot be read: runtimeerror"),
        (lambda: Waiting(CONTENT), "gives nothing at the moment"),
    ],
)
def test_what_cannot_be_read(make: Callable[[], object], said: str) -> None:
    with pytest.raises(AudioError, match=said) as error:
        load(make())
    assert str(error.value).startswith("The recording ")


def test_an_interruption_comes_through_the_decoder() -> None:
    """A decoder written in C takes what is raised while it reads for the end of the file."""

    class Interrupted(io.BytesIO):
        reads = -1

        def read(self, size: int | None = -1) -> bytes:
            self.reads -= 1
            if not self.reads:
                raise KeyboardInterrupt
            return super().read(size)

    file = Interrupted(CONTENT)
    load(file)
    assert file.reads < -5
    for number in range(1, -file.reads):
        file = Interrupted(CONTENT)
        file.reads = number
        with pytest.raises(KeyboardInterrupt):
            load(file)


@pytest.mark.parametrize("recording", [None, 5, 0.5, ["a.wav"], object(), io.BytesIO])
def test_what_is_no_recording(recording: object) -> None:
    with pytest.raises(UsageError, match="A recording is a path, bytes or a file opened in binary mode"):
        load(recording)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("{folder}/missing.wav", "does not exist"),
        ("{folder}/whole.wav/below.wav", "does not exist"),
        ("{folder}", "is a folder; name the recordings in it"),
        ("", "empty file name"),
        ("{folder}/nul\0.wav", "cannot be opened"),
        ("{folder}/" + "x" * 5000, "cannot be opened"),
        pytest.param(
            "/dev/zero", "pipe or device", marks=pytest.mark.skipif(os.name == "nt", reason="POSIX")
        ),
    ],
)
def test_paths_that_are_no_recording(tmp_path: Path, path: str, said: str) -> None:
    write(tmp_path / "whole.wav", noise(0.1, 8000))
    with pytest.raises(AudioError, match=said):
        load(path.format(folder=tmp_path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_named_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AudioError, match="pipe or device; send what it gives to otoscribe caption -"):
        load(tmp_path / "pipe.wav")


def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")  # file modes do not stop root, who runs many a test

    path = write(tmp_path / "secret.wav", noise(0.1, 8000))
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(AudioError, match="may not be read: permission denied"):
        load(path)


def test_seeking_to_nowhere_stays() -> None:
    with sources.opened(b"0123456789") as source:
        part = sources.Part(source, 2, 8)
        assert part.seek(4) == 4
        assert part.seek(-5) == part.seek(-9, os.SEEK_CUR) == 4
        assert part.read(9) == b"67"
        assert part.seek(2**70) == 2**70
        assert part.read(1) == b""
        assert part.seek(-1, os.SEEK_END) == 5
        assert part.read(1) == b"7"
        assert part.at(5, 9) == b"7"
        assert part.within(1, 3).read() == b"34"
