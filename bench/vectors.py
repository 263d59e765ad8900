"""Time and peak memory of reading a vocabulary's vectors from made files of 3 GB, in three published layouts.

Ours picks the words that are wanted while it reads; the peer, gensim, loads the file. Each reads it in a
process of its own, whose vectors are compared before its figures are reported.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from bench.compare import OURS, Result, cores, rated

BYTES, FEW = 3_000_000_000, 100_000_000
WIDTH = 300
VOCABULARY = 4_400
"""Words that are wanted, about as many as Clotho's captions have."""
GENSIM = "gensim"

READ = """
import resource, sys, time
from pathlib import Path
import numpy as np

who, layout, path, count, wanted, result = sys.argv[1:]
wanted = [f"w{number}" for number in np.linspace(0, int(count) - 1, int(wanted), dtype=int)]
if who == "gensim":
    from gensim.models import KeyedVectors, fasttext
else:
    from otoscribe.model.vectors import fasttext, glove, opened, word2vec
begin = time.perf_counter()
if who == "gensim":
    if layout == "fasttext":
        found = fasttext.load_facebook_vectors(path)
    else:
        found = KeyedVectors.load_word2vec_format(
            path, binary=layout == "word2vec", no_header=layout == "glove"
        )
else:
    read = {"word2vec": word2vec.read_word2vec, "glove": glove.read_glove, "fasttext": fasttext.read_fasttext}
    with opened.opened(Path(path), "") as stream:
        found = read[layout](stream, wanted)
seconds = time.perf_counter() - begin
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
np.save(result, np.stack([found[word] for word in wanted]))
print(seconds, peak)
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
    # Each seen five times, or gensim would leave it out.
    yield from (b"w%d\0\5" % number + bytes(8) for number in range(half))
    yield bytes(1) + np.array([2 * half, WIDTH], "<i8").tobytes()
    yield from (row for _ in range(2 * half))


LAYOUTS: dict[str, tuple[Callable[[int, bytes], Iterator[bytes]], int]] = {
    "word2vec": (word2vec_parts, 4 * WIDTH),
    "glove": (glove_parts, 9 * WIDTH),
    "fasttext": (fasttext_parts, 4 * WIDTH),
}
"""What makes a file, and about how many bytes a row of it has."""


def results(threads: int, quick: bool) -> Iterator[Result]:
    """Measure all layouts, one after the other."""
    row = np.random.default_rng(0).standard_normal(WIDTH).astype("<f4").tobytes()
    for layout, (parts, size) in LAYOUTS.items():
        count = (FEW if quick else BYTES) // size
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "vectors"
            with path.open("wb") as file:
                write(file, parts(count, row))
            setting = f"{layout}, {path.stat().st_size / 1e9:.1f} GB, {cores(threads)}"
            words = count // 2 if layout == "fasttext" else count
            figures = {who: read(who, layout, path, words) for who in (OURS, GENSIM)}
            ours, theirs = (np.load(path.with_name(f"{who}.npy")) for who in (OURS, GENSIM))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
        for place, (work, unit) in enumerate((("reading word vectors", "s"), ("its peak memory", "MB"))):
            costs = {who: [values[place]] for who, values in figures.items()}
            yield from rated(work, setting, costs, {GENSIM: None}, unit)


def read(who: str, layout: str, path: Path, words: int) -> tuple[float, float]:
    """Read a file in a process of its own; return its seconds and its peak in MB, and leave the vectors."""
    result = path.with_name(f"{who}.npy")
    arguments = [who, layout, str(path), str(words), str(VOCABULARY), str(result)]
    ran = subprocess.run(
        [sys.executable, "-c", READ, *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    seconds, peak = ran.stdout.split()
    return float(seconds), float(peak)


def write(file: IO[bytes], parts: Iterator[bytes]) -> None:
    """Write parts, many at once."""
    buffer = bytearray()
    for part in parts:
        buffer += part
        if len(buffer) > 1 << 24:
            file.write(buffer)
            buffer.clear()
    file.write(buffer)
