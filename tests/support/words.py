"""Word embeddings of every kind, those with published files from small ones in the same layouts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from otoscribe.model.words.base import WORDS, Origin, WordEmbedding, WordSettings, load_words, resolved

GOLDEN = Path(__file__).parents[1] / "golden" / "words"
"""Small files under the names of the published ones; `make_words.py` beside them made them."""
CAPTIONS = ["a dog barks", "rain falls on the roof while a dog barks", "a bird sings"] * 20
ORIGIN = Origin([caption.split() for caption in CAPTIONS], GOLDEN)


def built(settings: WordSettings, words: tuple[str, ...], origin: Origin = ORIGIN) -> WordEmbedding:
    """Return words as training begins with them."""
    beginning = load_words(settings, words, origin)
    embedding = WORDS.build(settings.name, resolved(settings, beginning), words)
    if beginning is not None:
        embedding.begin(beginning)
    return embedding


def every_kind() -> Iterator[WordSettings]:
    """Yield settings of every kind, one for each mode that it has."""
    for name in WORDS:
        kind: Any = WORDS[name].Settings
        mode = kind.model_fields.get("mode")
        for value in get_args(mode.annotation) if mode else [None]:
            yield kind(name=name, **({"mode": value} if value else {}))


def title(settings: WordSettings) -> str:
    """Return what a test is called."""
    return "-".join(filter(None, [settings.name, getattr(settings, "mode", None)]))
