"""What encoders, adapters and words must keep to, tried once on made-up input before anything is trained.

The package's own are held to it by their tests; those of others come here with any mistake that there is.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from otoscribe.errors import UsageError
from otoscribe.model.adapters.base import Adapter, AdapterOutput
from otoscribe.model.encoders.base import Encoder
from otoscribe.model.words.base import WordEmbedding
from otoscribe.registry import guarded
from otoscribe.text.phrase_book import CLASSES
from otoscribe.text.vocabulary import START


def check_encoder(encoder: Encoder, name: str) -> None:
    """Encode two clips of noise.

    Raises:
        UsageError: the encoder fails, or gives something else than its spec and times state.
    """
    spec = encoder.spec
    samples = 3 * spec.sample_rate + 7
    waveforms = 0.1 * torch.randn(2, samples, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = guarded("encoder", name, lambda: encoder(waveforms))
    times = guarded("encoder", name, lambda: np.array(encoder.times(samples), float))
    _require("encoder", name, times.ndim == 2 and times.shape[1] == 2, "times as a list of pairs", "others")
    _require("encoder", name, isinstance(found, Mapping), "a dict with its outputs", type(found).__name__)
    shapes = {output: _shape(value) for output, value in found.items()}
    expected = {output: (2, len(times), width) for output, width in spec.outputs.items()}
    wanted = f"{expected} as float32 for two clips of {len(times)} times"
    _require("encoder", name, shapes == expected, wanted, shapes)
    finite = all(value.isfinite().all() for value in found.values())
    _require("encoder", name, finite, "finite numbers for noise", "others")


def check_adapter(adapter: Adapter, width: int, name: str) -> None:
    """Adapt two clips of 5 and 3 frames.

    Raises:
        UsageError: the adapter fails, or its output is not as `AdapterOutput` states.
    """
    features = torch.rand(2, 5, width, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(5) < torch.tensor([[5], [3]])
    _require("adapter", name, isinstance(getattr(adapter, "width", None), int), "its width", "none")
    with torch.no_grad(), _evaluating(adapter):
        output = guarded("adapter", name, lambda: adapter(features, mask))
    _require("adapter", name, isinstance(output, AdapterOutput), "an AdapterOutput", type(output).__name__)
    memory, places, sources, support, salience = output
    shape = _shape(memory)
    fits = shape is not None and len(shape) == 3 and (shape[0], shape[2]) == (2, adapter.width)
    _require("adapter", name, fits, f"memory [2, places, {adapter.width}] as float32 for two clips", shape)
    if places is not None:
        fits = isinstance(places, Tensor) and places.dtype == torch.bool and places.shape == memory.shape[:2]
        _require("adapter", name, fits, f"a mask of bool {list(memory.shape[:2])}", _described(places))
    if sources is None:
        fits = memory.shape[1] == 5
        _require("adapter", name, fits, "sources, as its places are not the frames", "none")
    else:
        expected = (*memory.shape[:2], 5)
        _require(
            "adapter", name, _shape(sources) == expected, f"sources {list(expected)}", _described(sources)
        )
    if support is not None or salience is not None:
        fits = sources is not None and _shape(support) == (2, CLASSES)
        _require("adapter", name, fits, f"support [2, {CLASSES}] beside sources", _described(support))
        sounds = _shape(salience)
        fits = sounds is not None and len(sounds) == 3 and (sounds[0], sounds[2]) == (2, CLASSES)
        wanted = f"salience [2, sounds, {CLASSES}] beside support"
        _require("adapter", name, fits, wanted, _described(salience))


def check_words(words: WordEmbedding, name: str) -> None:
    """Embed a caption of three words.

    Raises:
        UsageError: the words fail, or their vectors are not as `WordEmbedding` states.
    """
    history = torch.tensor([[START, 2, 3, 2]])
    _require("word embedding", name, isinstance(getattr(words, "width", None), int), "its width", "none")
    with torch.no_grad(), _evaluating(words):
        vectors = guarded("word embedding", name, lambda: words(history))
        newest = guarded("word embedding", name, lambda: words.newest(history))
    expected = (1, 4, words.width)
    fits = _shape(vectors) == expected and _shape(newest) == (1, words.width)
    found = f"{_described(vectors)}, newest {_described(newest)}"
    _require(
        "word embedding", name, fits, f"vectors {list(expected)} as float32, newest [1, {words.width}]", found
    )


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Keep dropout from drawing random numbers, which would move all that is drawn later."""
    module.eval()
    try:
        yield
    finally:
        module.train()


def _shape(value: Any) -> tuple[int, ...] | None:
    """Return the shape of a float32 tensor; None of anything else."""
    return tuple(value.shape) if isinstance(value, Tensor) and value.dtype == torch.float32 else None


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return type(value).__name__


def _require(kind: str, name: str, fits: bool, wanted: str, found: Any) -> None:
    if not fits:
        raise UsageError(f"The {kind} {name!r} must give {wanted}; it gives {found}.")
