"""The three graphs of a bundle, stated once: what goes in, what comes out, and what each axis is.

By these, an export is named and traced, a bundle is verified, and a stepper feeds, pads and reorders.
"""

from collections.abc import Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar

Array = TypeVar("Array")
"""NumPy's or PyTorch's."""


class Port(NamedTuple):
    """An input or output."""

    name: str
    kind: Literal["float", "int64", "bool"]
    axes: tuple[str, ...]
    per_block: bool = False
    """Stands for as many as the decoder has blocks: NAME.0, NAME.1 and so on."""


class Graph(NamedTuple):
    """A graph's ports, in order."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    optional: frozenset[str] = frozenset()
    """Names of outputs that a model may lack."""
    large: bool = False
    """Whether it computes with large arrays, none of which may stay in memory for longer than it is used."""

    def of(self, blocks: int) -> "Graph":
        """Return the graph of a decoder with so many blocks, every port by its own name."""
        inputs, outputs = (
            tuple(
                port._replace(name=name, per_block=False)
                for port in ports
                for name in (names_of(port.name, blocks) if port.per_block else (port.name,))
            )
            for ports in (self.inputs, self.outputs)
        )
        return self._replace(inputs=inputs, outputs=outputs)


def names_of(name: str, blocks: int) -> tuple[str, ...]:
    """Return the names of a port's inputs or outputs that there are one of for every block."""
    return tuple(f"{name}.{block}" for block in range(blocks))


FIXED = frozenset({"layers", "heads", "head_dim", "vocabulary", "width"})
"""Axes whose size belongs to the model; all others may differ from run to run."""

_MEMORY = ("layers", "clips", "places", "heads", "head_dim")
_WORDS = ("clips", "beam", "heads", "past", "head_dim")
_MASK = Port("memory_mask", "bool", ("clips", "places"))


class Cache(NamedTuple, Generic[Array]):
    """What a decoder step needs besides the words: of the words before, and of the clips' memories.

    Keys and values are one array for each block, laid out as its matrix products read them: a graph that had
    to take the blocks apart and turn the memories around would copy them all at every word.
    """

    keys: tuple[Array, ...]
    """Each [clips, beam, heads, past, head_dim]."""
    values: tuple[Array, ...]
    """As the keys."""
    memory_keys: tuple[Array, ...]
    """Each [clips, heads, head_dim, places]."""
    memory_values: tuple[Array, ...]
    """Each [clips, heads, places, head_dim]."""
    memory_mask: Array
    """True where a place of the memory is the clip's own, False where it fills up, [clips, places]."""

    def flat(self) -> tuple[Array, ...]:
        """Return all arrays in the order of the step graph's inputs."""
        return (*self.keys, *self.values, *self.memory_keys, *self.memory_values, self.memory_mask)

    @classmethod
    def from_flat(cls, arrays: Sequence[Array]) -> "Cache[Array]":
        """Undo `flat`."""
        blocks = len(arrays) // 4
        keys, values, memory_keys, memory_values = (
            tuple(arrays[first : first + blocks]) for first in range(0, 4 * blocks, blocks)
        )
        return cls(keys, values, memory_keys, memory_values, arrays[-1])


_FEATURES = Port("features", "float", ("clips", "frames", "width"))

ENCODE = Graph(inputs=(Port("waveforms", "float", ("clips", "samples")),), outputs=(_FEATURES,), large=True)
"""Equally long waveforms, or equally long pieces of them → the encoder's frames."""

ADAPT = Graph(
    inputs=(_FEATURES,),
    outputs=(
        Port("memory_keys", "float", _MEMORY),
        Port("memory_values", "float", _MEMORY),
        _MASK,
        Port("sources", "float", ("clips", "places", "frames")),
        Port("support", "float", ("clips", "classes")),
        Port("salience", "float", ("clips", "sounds", "classes")),
    ),
    optional=frozenset({"sources", "support", "salience"}),
    large=True,
)
"""All frames of equally long clips → keys and values of every decoder block's cross-attention; which places
are real; where a place of the memory is not just the frame of that number, which frames it comes from; how
far each class of the phrase book is heard, below 0 where it is not; and how much a caption should name each
of the sounds with most evidence, at every class by whose words it is named, else 0."""

STEP = Graph(
    inputs=(
        Port("history", "int64", ("clips", "beam", "time")),
        Port("keys", "float", _WORDS, per_block=True),
        Port("values", "float", _WORDS, per_block=True),
        Port("memory_keys", "float", ("clips", "heads", "head_dim", "places"), per_block=True),
        Port("memory_values", "float", ("clips", "heads", "places", "head_dim"), per_block=True),
        _MASK,
    ),
    outputs=(
        Port("log_probabilities", "float", ("clips", "beam", "vocabulary")),
        Port("attention", "float", ("clips", "beam", "places")),
        Port("next_keys", "float", (*_WORDS[:3], "time", "head_dim"), per_block=True),
        Port("next_values", "float", (*_WORDS[:3], "time", "head_dim"), per_block=True),
    ),
)
"""Words so far, past of them in the cache and one new → log-probabilities of the next word, shares of the
memory's places in it, and the cache after the new word. The inputs after the first are `Cache.flat`."""


def reordered(cache: Cache[Any], rows: Any) -> Cache[Any]:
    """Return the cache whose row [c, b] is the old flat row `rows[c, b]`; see `search.stepper.Stepper`.

    Args:
        cache: arrays of NumPy or PyTorch.
        rows: int64 [clips, beam], of NumPy.
    """
    clips, beam = cache.keys[0].shape[:2]
    keys, values = (
        tuple(array.reshape(clips * beam, *array.shape[2:])[rows] for array in arrays)
        for arrays in (cache.keys, cache.values)
    )
    kept = rows[:, 0] // beam
    if len(kept) == clips and all(kept[1:] > kept[:-1]):
        return cache._replace(keys=keys, values=values)
    mask = cache.memory_mask[kept]
    memory_keys, memory_values = (
        tuple(array[kept] for array in arrays) for arrays in (cache.memory_keys, cache.memory_values)
    )
    used = mask.any(0)
    if not used.all():
        # Places of clips that are done need not be computed on.
        mask = mask[:, used]
        memory_keys = tuple(array[..., used] for array in memory_keys)
        memory_values = tuple(array[..., used, :] for array in memory_values)
    return Cache(keys, values, memory_keys, memory_values, mask)
