"""The binary layout of fastText: vectors of words, and of the pieces that words not listed are made of.

Source: `fasttext.cc`, `dictionary.cc`, `args.cc` and `densematrix.cc` of facebookresearch/fastText, version
12 of the layout: arguments, words in the order of their rows, then one matrix with a row for each word and
one for each bucket of pieces.
"""

from collections.abc import Collection, Iterator
from typing import IO

import numpy as np
from numpy.typing import NDArray

from otoscribe.model.vectors.opened import WIDEST, Blocks

MAGIC, VERSION = 793712314, 12


def read_fasttext(stream: IO[bytes], wanted: Collection[str]) -> dict[str, NDArray[np.float32]]:
    """Return the vectors of wanted words, float32 [width] each: the mean of a word's own and its pieces'.

    A word that is not listed is the mean of its pieces alone; one too short to have any is left out.

    Raises:
        EOFError: the stream ends too early.
        ValueError: it is in another layout, or quantised.
    """
    blocks = Blocks(stream)
    if blocks.numbers("ii") != (MAGIC, VERSION):
        raise ValueError("it is no model of fastText's layout 12")
    width, *_, buckets, shortest, longest, _, _ = blocks.numbers("12iq")  # the last is a float64, unused
    _, listed, _, _, pruned = blocks.numbers("iiiqq")
    names = {word.encode(): word for word in wanted}
    rows: dict[str, list[int]] = {word: [] for word in wanted}
    for row in range(listed):
        if (word := names.get(blocks.until(b"\0"))) is not None:
            rows[word].append(row)
        blocks.take(9)  # how often the word occurred, and that it is one
    (quantised,) = blocks.numbers("b")
    if quantised or pruned > 0:
        raise ValueError("it is quantised; take the .bin of full size")
    height, columns = blocks.numbers("qq")
    if columns != width or height != listed + buckets or not 0 < width <= WIDEST:
        raise ValueError("its sizes contradict each other")
    if buckets > 0:
        for word in rows:
            rows[word] += [listed + piece % buckets for piece in pieces_of(word, shortest, longest)]
    needed = sorted({row for all_rows in rows.values() for row in all_rows})
    first, size = blocks.position, 4 * width
    values = np.empty((len(needed), width), np.float32)
    for place, row in enumerate(needed):
        stream.seek(first + size * row)
        content = stream.read(size)
        if len(content) < size:
            raise EOFError("it ends too early")
        values[place] = np.frombuffer(content, "<f4")
    place_of = {row: place for place, row in enumerate(needed)}
    return {
        word: values[[place_of[row] for row in all_rows]].mean(axis=0, dtype=np.float32)
        for word, all_rows in rows.items()
        if all_rows
    }


def pieces_of(word: str, shortest: int, longest: int) -> Iterator[int]:
    """Yield the hashes of a word's pieces: all runs of `shortest` to `longest` characters of <word>."""
    characters = [character.encode() for character in f"<{word}>"]
    for start in range(len(characters)):
        for end in range(start + max(shortest, 1), min(start + longest, len(characters)) + 1):
            # The marks alone are no pieces.
            if end - start > 1 or 0 < start < len(characters) - 1:
                yield hash_of(b"".join(characters[start:end]))


def hash_of(piece: bytes) -> int:
    """Return the 32-bit FNV-1a hash as fastText computes it: bytes from 128 on count as negative."""
    value = 2166136261
    for byte in piece:
        signed = byte if byte < 128 else byte | 0xFFFFFF00
        value = ((value ^ signed) * 16777619) & 0xFFFFFFFF
    return value
