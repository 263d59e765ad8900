"""The text layout of GloVe: a word and its values on every line, with a blank between them.

gensim's copies begin with a line of the numbers of words and columns, as word2vec's text layout does.
"""

from collections.abc import Collection
from typing import IO

import numpy as np
from numpy.typing import NDArray

from otoscribe.model.vectors.opened import BLOCK
from otoscribe.model.vectors.word2vec import sizes


def read_glove(stream: IO[bytes], wanted: Collection[str]) -> dict[str, NDArray[np.float32]]:
    """Return the vectors of wanted words that are there, float32 [width] each; of several rows the first.

    Raises:
        ValueError: a line has another number of values than the first, or something else than numbers.
    """
    names = {word.encode(): word for word in wanted}
    found: dict[str, NDArray[np.float32]] = {}
    width = number = 0
    count: int | None = None
    while line := stream.readline(BLOCK):
        number += 1
        if not line.endswith(b"\n"):
            raise ValueError("it ends too early, or is in another layout")
        if number == 1 and line.count(b" ") == 1:
            count, width = sizes(line)
            continue
        width = width or line.rstrip().count(b" ")
        # A word may hold blanks of its own, as a few of GloVe 840B do.
        if width == 0 or line.rstrip().count(b" ") < width:
            raise ValueError(f"line {number} has not as many values as the first")
        word = names.get(line[: line.index(b" ")])
        values = line.split()[1:] if word is not None and word not in found else []
        if word is not None and len(values) == width:  # else a word that begins with a wanted one
            found[word] = np.array([float(value) for value in values], np.float32)
    if number == 0 or (count is not None and number != count + 1):
        raise ValueError("it ends too early")
    return found
