"""Files that want more than to be heard: they get one sentence, or what sound they hold, and nothing else."""

import http.server
import io
import struct
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from otoscribe.audio import ffmpeg, reading
from otoscribe.errors import AudioError
from support.encoded import encoded
from support.recordings import noise


@pytest.fixture
def address() -> Iterator[tuple[str, list[str]]]:
    """An address on this machine, and what was asked there."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(encoded("wav", noise(1, 16000)))

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n",
    "hls, key": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n"
    '#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n#EXTINF:1,\n{target}\n',
    "m3u": "#EXTM3U\n#EXTINF:1,song\n{target}\n",
    "concat": "ffconcat version 1.0\nfile '{target}'\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'profiles="urn:mpeg:dash:profile:isoff-main:2011"><Period><AdaptationSet mimeType="audio/mp4">'
    '<Representation id="0" bandwidth="1"><BaseURL>{target}</BaseURL></Representation></AdaptationSet>'
    "</Period></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n",
    "asx": '<asx version="3.0"><entry><ref href="{target}"/></entry></asx>',
    "pls": "[playlist]\nFile1={target}\nNumberOfEntries=1\n",
    "asf": "[Reference]\nRef1={target}\n",
    "ism": '<SmoothStreamingMedia MajorVersion="2"><StreamIndex Type="audio" Url="{target}"/>'
    "</SmoothStreamingMedia>",
    "imf": '<AssetMap xmlns="http://www.smpte-ra.org/schemas/429-9/2007/AM"><Path>{target}</Path></AssetMap>',
    "txt": "{target}\n",
}


@pytest.mark.parametrize("ending", ["m3u8", "wav", "mp4", ""])
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_lists_are_refused_and_touch_nothing(
    tmp_path: Path, address: tuple[str, list[str]], kind: str, ending: str
) -> None:
    url, asked = address
    other = tmp_path / "other.wav"
    other.write_bytes(encoded("wav", noise(1, 16000)))
    before = other.stat().st_atime_ns
    for target in (url + "/secret.wav", str(other), other.as_uri(), other.name):
        path = tmp_path / f"list.{ending}"
        path.write_text(PLAYLISTS[kind].format(target=target, port=url.rsplit(":", 1)[1]))
        for recording in (path, path.read_bytes()):
            with pytest.raises(AudioError, match=r"is a playlist|is text|is a web page"):
                reading.load(recording, 16000)
    assert not asked
    assert other.stat().st_atime_ns == before


@pytest.mark.parametrize(
    "name",
    [
        *(
            "{url}/a.wav",
            "concat:{other}|{other}",
            "file:{other}",
            "subfile,,start,0,end,0,,:{other}",
            "pipe:0",
        ),
        *(
            "data:audio/wav;base64,UklGRg==",
            "async:{other}",
            "img%03d.png",
            "crypto:{other}",
            "tcp://127.0.0.1:1",
        ),
    ],
)
def test_names_are_files_and_no_addresses(
    tmp_path: Path, address: tuple[str, list[str]], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, asked = address
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.wav").write_bytes(encoded("wav", noise(1, 16000)))
    with pytest.raises(AudioError, match="does not exist"):
        reading.load(name.format(url=url, other="other.wav"), 16000)
    assert not asked


def test_a_film_that_names_another_file_is_not_followed(
    tmp_path: Path, address: tuple[str, list[str]]
) -> None:
    """QuickTime's data references: the samples lie in another file, whose name stands in the index."""
    url, asked = address
    content = encoded("mov", noise(1, 16000))
    place = content.index(b"dref")
    own = content[place + 12 : place + 24]
    assert own[4:8] in (b"url ", b"alis")
    for kind in (b"url ", b"alis"):
        reference = kind + b"\0\0\0\0" + (url + "/a.wav").encode() + b"\0"
        named = struct.pack(">I", len(reference) + 4) + reference
        changed = content[: place + 12] + named + content[place + 24 :]
        try:
            reading.load(changed, 16000)
        except AudioError as error:
            assert str(error).endswith(".")  # noqa: PT017
    assert not asked


def riff(fmt: bytes, *, data: int, held: bytes) -> bytes:
    chunk = b"fmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", data)
    return b"RIFF" + struct.pack("<I", 0xFFFFFFFF) + b"WAVE" + chunk + held


def pcm(channels: int, rate: int) -> bytes:
    wide = 2 * channels
    return struct.pack("<HHIIHH", 1, channels, rate, rate * wide & 0xFFFFFFFF, wide, 16)


def flac_bomb() -> bytes:
    """Minutes of silence in few bytes, behind a header that promises the most that can be promised."""
    content = bytearray(encoded("flac", np.zeros((8000 * 300, 1)), 8000))
    content[21] |= 0x0F
    content[22:26] = b"\xff" * 4
    return bytes(content)


BOMBS = {
    "10^9 s": lambda: riff(pcm(1, 1000), data=0x7FFEFFFF, held=bytes(1000)),
    "255 channels at 10 MHz": lambda: riff(pcm(255, 10_000_000), data=0x7FFE0000, held=bytes(1 << 20)),
    "65535 channels": lambda: riff(pcm(65535 // 2, 48000), data=0x7FFE0000, held=bytes(1 << 20)),
    "tag of 256 MB": lambda: b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + encoded("mp3", noise(1, 16000)),
    "many tags": lambda: (b"ID3\x04\0\0\0\0\0\0" * 10_000) + encoded("mp3", noise(1, 16000)),
    "chunk of 4 GB": lambda: b"RIFF\xff\xff\xff\xffWAVELIST\xff\xff\xff\xff" + bytes(1000),
    "many chunks": lambda: b"RIFF\xff\xff\xff\xffWAVE" + b"LIST\0\0\0\0" * 20_000,
    "FLAC picture of 16 MB": lambda: b"fLaC\x06\xff\xff\xff" + bytes(1000),
    "EBML of 2^56": lambda: b"\x1aE\xdf\xa3\x01" + b"\xff" * 7 + bytes(1000),
    "atoms without end": lambda: b"\0\0\0\x18ftypM4A \0\0\0\0M4A mp42" + b"\0\0\0\x08moov" * 50_000,
    "silence that goes on": flac_bomb,
    "Ogg pages without end": lambda: (b"OggS\0\x02" + bytes(20) + b"\0") * 20_000,
    "a million beginnings": lambda: b"fLaC\0\0\0\x22" * 20_000,
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_are_harmless(kind: str) -> None:
    content = BOMBS[kind]()
    tracemalloc.start()
    start = time.process_time()
    try:
        reading.load(content, 16000, longest_seconds=60)
    except AudioError as error:
        assert "\n" not in str(error)  # noqa: PT017
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 50e6  # a minute at 16 kHz are 4 MB
    assert time.process_time() - start < 20


def test_a_sparse_file_of_gigabytes(tmp_path: Path) -> None:
    """A header, then nothing for as long as a disk can pretend."""
    path = tmp_path / "sparse.wav"
    with path.open("wb") as file:
        file.write(riff(pcm(2, 44100), data=0x7FFE0000, held=b""))
        file.truncate(8 << 30)
    with pytest.raises(AudioError, match="which is too long"):
        reading.load(path, 16000, longest_seconds=60)


def test_a_file_of_nothing_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "_ALLOWANCE_OF_SOUND", 1 << 17)
    sound = encoded("mp3", noise(3, 16000))
    audio = reading.load(sound + bytes(1 << 21) + b"\1" * 5000, 16000)
    assert audio.seconds == pytest.approx(3, abs=0.2)
    assert any("nothing more can be decoded" in note for note in audio.notes)


def test_bytes_of_any_kind_give_a_sentence() -> None:
    for seed in range(300):
        random = np.random.default_rng(seed)
        content = random.bytes(int(random.integers(1, 20_000)))
        with pytest.raises(
            AudioError, match=r"is text|cannot be decoded|holds nothing|coding|damaged|no sound"
        ):
            reading.load(io.BytesIO(content), 16000)
