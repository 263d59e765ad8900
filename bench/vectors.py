"""Memory and time of reading a vocabulary's vectors from made files of 3 GB, in the three published layouts.

    python -m bench.vectors

Each file is made, read by a process of its own, which tells its peak, and deleted. One that reads nothing is
measured beside them: the difference is what reading takes.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

BYTES = 3_000_000_000
WIDTH = 300
VOCABULARY = 4_400
"""Words that are wanted, about as many as Clotho's captions have."""

READ = """
import resource, sys, time
from pathlib import Path
import numpy as np
from otoscribe.model.vectors import fasttext, glove, opened, word2vec

layout, path, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
read = {"word2vec": word2vec.read_word2vec, "glove": glove.read_glove, "fasttext": fasttext.read_fasttext}
begin = time.perf_counter()
found = {}
if layout in read:
    wanted = [f"w{number}" for number in np.linspace(0, count - 1, int(sys.argv[4]), dtype=int)]
    with opened.opened(path, "") as stream:
        found = read[layout](stream, wanted)
    assert len(found) == len(wanted)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"{layout:10} {time.perf_counter() - begin:6.1f} s  peak {peak:6.0f} MB")
"""


def word2vec_parts(count: int, row: bytes) -> Iterator[bytes]:
    """Yield a file in the layout of word2vec."""
    yield f"{count} {WIDTH}\n".encode()
    yield from (b"w%d " % number + row for number in range(count))


def glove_parts(count: int, row: bytes) -> Iterator[bytes]:
    """Yield a file in the layout of GloVe."""
    text = " ".join(f"{value:.5f}" for value in np.frombuffer(row, "<f4")).encode()
    yield from (b"w%d " % number + text + b"\n" for number in range(count))


def fasttext_parts(count: int, row: bytes) -> Iterator[bytes]:
    """Yield a file in the layout of fastText: half of the rows are words, half of them buckets of pieces."""
    half = count // 2
    yield np.array([793712314, 12, WIDTH, *[5] * 7, half, 5, 5, 100], "<i4").tobytes() + bytes(8)
    yield np.array([half, half, 0], "<i4").tobytes() + np.array([half, -1], "<i8").tobytes()
    yield from (b"w%d" % number + bytes(10) for number in range(half))
    yield bytes(1) + np.array([2 * half, WIDTH], "<i8").tobytes()
    yield from (row for _ in range(2 * half))


LAYOUTS: dict[str, tuple[Callable[[int, bytes], Iterator[bytes]], int]] = {
    "word2vec": (word2vec_parts, BYTES // (4 * WIDTH)),
    "glove": (glove_parts, BYTES // (9 * WIDTH)),
    "fasttext": (fasttext_parts, BYTES // (4 * WIDTH)),
}
"""What makes a file, and its rows."""


def measure(layout: str, path: Path, words: int) -> None:
    """Read a file in a process of its own, which prints its figures."""
    command = [sys.executable, "-c", READ, layout, str(path), str(words), str(VOCABULARY)]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def write(file: IO[bytes], parts: Iterator[bytes]) -> None:
    """Write parts, many at once."""
    buffer = bytearray()
    for part in parts:
        buffer += part
        if len(buffer) > 1 << 24:
            file.write(buffer)
            buffer.clear()
    file.write(buffer)


def main() -> None:
    """Measure all layouts, one after the other."""
    row = np.random.default_rng(0).standard_normal(WIDTH).astype("<f4").tobytes()
    measure("nothing", Path(), 0)
    for layout, (parts, count) in LAYOUTS.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "vectors"
            with path.open("wb") as file:
                write(file, parts(count, row))
            print(f"{path.stat().st_size / 1e9:.2f} GB: ", end="", flush=True)
            measure(layout, path, count // 2 if layout == "fasttext" else count)


if __name__ == "__main__":
    main()
