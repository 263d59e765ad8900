"""The binary layout of word2vec: a line with the numbers of words and columns, then word, blank, float32s.

Source: `word2vec.c` of Mikolov et al. (2013), which ends each row with a line feed; gensim does not.
"""

from collections.abc import Collection
from typing import IO

import numpy as np
from numpy.typing import NDArray

from otoscribe.model.vectors.opened import WIDEST, Blocks


def read_word2vec(stream: IO[bytes], wanted: Collection[str]) -> dict[str, NDArray[np.float32]]:
    """Return the vectors of wanted words that are there, float32 [width] each; of several rows the first.

    Raises:
        EOFError: the stream ends too early.
        ValueError: it is in another layout.
    """
    blocks = Blocks(stream)
    count, width = sizes(blocks.until(b"\n"))
    names = {word.encode(): word for word in wanted}
    found: dict[str, NDArray[np.float32]] = {}
    for _ in range(count):
        word = names.get(blocks.until(b" ").lstrip(b"\n"))
        row = blocks.take(4 * width)
        if word is not None and word not in found:
            found[word] = np.frombuffer(row, "<f4").astype(np.float32)
    return found


def sizes(line: bytes) -> tuple[int, int]:
    """Return the numbers of words and of columns that a first line states.

    Raises:
        ValueError: it does not.
    """
    fields = line.split()
    if len(fields) != 2 or not all(field.isdigit() for field in fields) or not 0 < int(fields[1]) <= WIDEST:
        raise ValueError("its first line does not state two sizes")
    return int(fields[0]), int(fields[1])
