"""The two graphs of a bundle, stated once: what goes in, what comes out, and what each axis is.

By these, an export is named and traced, a bundle is verified, and a stepper feeds, pads and reorders.
"""

from typing import Any, Generic, Literal, NamedTuple, TypeVar

Array = TypeVar("Array")
"""NumPy's or PyTorch's."""


class Port(NamedTuple):
    """An input or output."""

    name: str
    kind: Literal["float", "int64", "bool"]
    axes: tuple[str, ...]


class Graph(NamedTuple):
    """A graph's ports, in order."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    optional: frozenset[str] = frozenset()
    """Names of outputs that a model may lack."""


FIXED = frozenset({"layers", "heads", "head_dim", "vocabulary"})
"""Axes whose size belongs to the model; all others may differ from run to run."""

_MEMORY = ("layers", "clips", "places", "heads", "head_dim")
_WORDS = ("layers", "clips", "beam", "heads", "past", "head_dim")


class Cache(NamedTuple, Generic[Array]):
    """What a decoder step needs besides the words: of the words before, and of the clips' memories."""

    keys: Array
    values: Array
    memory_keys: Array
    memory_values: Array
    memory_mask: Array
    """True where a place of the memory is the clip's own, False where it fills up."""


CACHE = (
    Port("keys", "float", _WORDS),
    Port("values", "float", _WORDS),
    Port("memory_keys", "float", _MEMORY),
    Port("memory_values", "float", _MEMORY),
    Port("memory_mask", "bool", ("clips", "places")),
)
"""The fields of `Cache` as inputs of a step."""

LISTEN = Graph(
    inputs=(Port("waveforms", "float", ("clips", "samples")),),
    outputs=(
        *CACHE[2:],
        Port("sources", "float", ("clips", "places", "frames")),
        Port("support", "float", ("clips", "classes")),
        Port("salience", "float", ("clips", "sounds", "classes")),
    ),
    optional=frozenset({"sources", "support", "salience"}),
)
"""Equally long waveforms → keys and values of every decoder block's cross-attention; which places are real;
where a place of the memory is not just the frame of that number, which frames it comes from; how far each
class of the phrase book is heard, below 0 where it is not; and how much a caption should name each of the
sounds with most evidence, at every class by whose words it is named, else 0."""

STEP = Graph(
    inputs=(Port("history", "int64", ("clips", "beam", "time")), *CACHE),
    outputs=(
        Port("log_probabilities", "float", ("clips", "beam", "vocabulary")),
        Port("attention", "float", ("clips", "beam", "places")),
        Port("next_keys", "float", (*_WORDS[:4], "time", "head_dim")),
        Port("next_values", "float", (*_WORDS[:4], "time", "head_dim")),
    ),
)
"""Words so far, past of them in the cache and one new → log-probabilities of the next word, shares of the
memory's places in it, and the cache after the new word."""


def reordered(cache: Cache[Any], rows: Any) -> Cache[Any]:
    """Return the cache whose row [c, b] is the old flat row `rows[c, b]`; see `search.stepper.Stepper`.

    Args:
        cache: arrays of NumPy or PyTorch.
        rows: int64 [clips, beam], of NumPy.
    """
    clip, slot = divmod(rows, cache.keys.shape[CACHE[0].axes.index("beam")])
    keys, values = cache.keys[:, clip, slot], cache.values[:, clip, slot]
    kept = clip[:, 0]
    memory = cache[2:]
    if len(kept) != cache.memory_mask.shape[0] or any(kept[1:] <= kept[:-1]):
        mask = cache.memory_mask[kept]
        # Places of clips that are done need not be computed on.
        used = mask.any(0)
        keys_values = (array[:, kept][:, :, used] for array in (cache.memory_keys, cache.memory_values))
        memory = (*keys_values, mask[:, used])
    return Cache(keys, values, *memory)
