"""Files that gensim and fastText wrote are read as these libraries read them, packed and damaged ones too."""

import gzip
import io
import json
import tracemalloc
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from otoscribe.errors import WeightsError
from otoscribe.model.vectors.fasttext import hash_of, pieces_of, read_fasttext
from otoscribe.model.vectors.glove import read_glove
from otoscribe.model.vectors.opened import BLOCK, opened
from otoscribe.model.vectors.word2vec import read_word2vec
from support.words import GOLDEN

Read = Callable[[IO[bytes], Collection[str]], dict[str, np.ndarray]]

EXPECTED = json.loads((GOLDEN / "expected.json").read_text("utf-8"))
WORD2VEC = GOLDEN / "GoogleNews-vectors-negative300.bin"
GLOVE = GOLDEN / "glove.6B.300d.txt"
FASTTEXT = GOLDEN / "crawl-300d-2M-subword.bin"
LAYOUTS: dict[str, tuple[Path, Read, dict[str, list[float]]]] = {
    "word2vec": (WORD2VEC, read_word2vec, EXPECTED["word2vec"]),
    "glove": (GLOVE, read_glove, EXPECTED["word2vec"]),
    "fasttext": (FASTTEXT, read_fasttext, EXPECTED["fasttext"]),
}


def read_from(path: Path, read: Read, wanted: Collection[str], member: str = "") -> dict[str, np.ndarray]:
    with opened(path, member) as stream:
        return read(stream, wanted)


@pytest.fixture(params=["plain", "gzip", "zip"])
def packed(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Path], Path]:
    def pack(path: Path) -> Path:
        if request.param == "gzip":
            target = tmp_path / f"{path.name}.gz"
            target.write_bytes(gzip.compress(path.read_bytes()))
        elif request.param == "zip":
            target = tmp_path / "vectors.zip"
            with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("other.txt", "not this one")
                archive.write(path, path.name)
        else:
            target = path
        return target

    return pack


@pytest.mark.parametrize("layout", LAYOUTS)
def test_vectors_are_those_that_the_library_reads(layout: str, packed: Callable[[Path], Path]) -> None:
    path, read, expected = LAYOUTS[layout]
    found = read_from(packed(path), read, expected, path.name)
    assert found.keys() == expected.keys()
    for word, vector in found.items():
        assert vector.dtype == np.float32
        np.testing.assert_allclose(vector, expected[word], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("layout", ["word2vec", "glove"])
def test_spelling_counts_and_what_is_not_listed_is_left_out(layout: str) -> None:
    path, read, expected = LAYOUTS[layout]
    found = read_from(path, read, ["Dog", "dog", "roof", "<pad>"])
    assert found.keys() == {"Dog", "dog"}
    assert found["Dog"].tolist() == pytest.approx(expected["Dog"])


def test_rows_may_end_with_a_line_feed_as_the_authors_program_writes_them() -> None:
    rows = {"dog": [1.0, 2.0], "café": [3.0, 4.0]}
    content = b"2 2\n" + b"".join(
        word.encode() + b" " + np.array(row, "<f4").tobytes() + b"\n" for word, row in rows.items()
    )
    found = read_word2vec(io.BytesIO(content), ["dog", "café"])
    assert {word: vector.tolist() for word, vector in found.items()} == rows


def test_glove_may_begin_with_a_line_of_sizes_and_hold_words_with_blanks() -> None:
    content = b"4 2\ndog 1 2\nat home 3 4\nat 5 6\nat 7 8\n"
    found = read_glove(io.BytesIO(content), ["dog", "at", "home"])
    assert {word: vector.tolist() for word, vector in found.items()} == {"dog": [1, 2], "at": [5, 6]}


def test_a_word_that_is_not_listed_is_the_mean_of_its_pieces() -> None:
    assert np.abs(EXPECTED["fasttext"]["barking"]).max() > 0
    assert list(pieces_of("dog", 3, 4)) == [
        hash_of(piece) for piece in (b"<do", b"<dog", b"dog", b"dog>", b"og>")
    ]
    assert list(pieces_of("dog", 0, 1)) == [hash_of(letter) for letter in (b"d", b"o", b"g")]
    assert list(pieces_of("dog", 0, 0)) == []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_cut_file_is_refused_in_a_sentence_wherever_it_was_cut(
    layout: str, packed: Callable[[Path], Path], tmp_path: Path
) -> None:
    path, read, expected = LAYOUTS[layout]
    whole = packed(path).read_bytes()
    cut = tmp_path / f"cut{packed(path).suffix}"
    # Behind the vectors, fastText's files hold what only learning needs.
    needed = len(whole) // 4 if layout == "fasttext" and path == packed(path) else len(whole)
    for size in range(0, needed, 37):
        cut.write_bytes(whole[:size])
        with pytest.raises(
            WeightsError, match=r"^The word vectors in .*cut.* cannot be read: [^.\n]*\. Down"
        ):
            read_from(cut, read, expected, path.name)


OTHERS = {
    "no sizes": (read_word2vec, b"a dog barks\n", "first line does not state two sizes"),
    "sizes that cannot be": (read_word2vec, b"9 999999999\n", "first line does not state two sizes"),
    "no blank after a word": (read_word2vec, b"2 2\n" + bytes(10_000), "in another layout"),
    "a line too short": (read_glove, b"dog 1 2\ncat 1\n", "line 2 has not as many values"),
    "no number": (read_glove, b"dog 1 x\n", "could not convert"),
    "fewer lines than stated": (read_glove, b"2 2\ndog 1 2\n", "ends too early"),
    "an endless line": (read_glove, bytes(BLOCK + 1), "in another layout"),
    "text instead of a model": (read_fasttext, b"2000000 300\n, -0.0282 -0.0557\n", "layout 12"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_another_layout_is_refused_in_a_sentence(case: str, tmp_path: Path) -> None:
    read, content, problem = OTHERS[case]
    (tmp_path / "vectors").write_bytes(content)
    with pytest.raises(WeightsError, match=problem):
        read_from(tmp_path / "vectors", read, ["dog"])


def test_a_quantised_model_is_refused(tmp_path: Path) -> None:
    content = bytearray(FASTTEXT.read_bytes())
    sizes = np.array([215, 8], "<i8").tobytes()  # of the matrix, which the mark stands before
    content[content.index(sizes) - 1] = 1
    (tmp_path / "model.ftz").write_bytes(content)
    with pytest.raises(WeightsError, match="it is quantised"):
        read_from(tmp_path / "model.ftz", read_fasttext, ["dog"])


def test_an_archive_without_the_file_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "glove.6B.zip", "w") as archive:
        archive.writestr("glove.6B.50d.txt", "dog 1\n")
    with pytest.raises(WeightsError, match=r"no item named 'glove\.6B\.300d\.txt'"):
        read_from(tmp_path / "glove.6B.zip", read_glove, ["dog"], "glove.6B.300d.txt")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_not_wanted_is_not_held(layout: str, tmp_path: Path) -> None:
    """A file of 24 MB is read with less than 6 MB: its blocks and the row that is wanted."""
    _, read, _ = LAYOUTS[layout]
    count, width = 20_000, 300
    row = np.arange(width, dtype="<f4")
    path = tmp_path / "large"
    with path.open("wb") as file:
        if layout == "word2vec":
            file.write(f"{count} {width}\n".encode())
            file.writelines(f"w{number} ".encode() + row.tobytes() for number in range(count))
        elif layout == "glove":
            text = " ".join(f"{value:.0f}" for value in row)
            file.writelines(f"w{number} {text}\n".encode() for number in range(count))
        else:
            sizes = np.array([793712314, 12, width, *[5] * 7, 0, 0, 0, 100], "<i4")
            file.write(sizes.tobytes() + bytes(8))
            file.write(np.array([count, count, 0], "<i4").tobytes() + np.array([0, -1], "<i8").tobytes())
            file.writelines(f"w{number}".encode() + bytes(10) for number in range(count))
            file.write(bytes(1) + np.array([count, width], "<i8").tobytes())
            file.writelines(row.tobytes() for _ in range(count))
    tracemalloc.start()
    try:
        found = read_from(path, read, [f"w{count - 1}"])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found[f"w{count - 1}"].tolist() == row.tolist()
    assert peak < 6e6 < 20e6 < path.stat().st_size
