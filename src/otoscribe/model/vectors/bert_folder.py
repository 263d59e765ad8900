"""A BERT as Hugging Face keeps it: `config.json`, `vocab.txt` and `model.safetensors` in one folder."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from otoscribe.errors import UsageError, WeightsError
from otoscribe.model.bert import BertSizes
from otoscribe.text.vocabulary import END, PAD, START, UNKNOWN

FILES = ("config.json", "vocab.txt", "model.safetensors")
BEGINNING, CLOSING, NOTHING = "[CLS]", "[SEP]", "[UNK]"
"""The pieces before and after every text, and the one for what the others cannot spell."""
LAYER = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.output",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "widen",
    "output.dense": "narrow",
    "output.LayerNorm": "norm",
}
"""Names of a layer's parts: theirs → ours."""
OLD = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
"""Names that the first checkpoints kept from TensorFlow."""


def read_bert(
    config: Path, vocabulary: Path, weights: Path, words: Sequence[str]
) -> tuple[dict[str, Tensor], BertSizes, Tensor]:
    """Read what is needed for the words of a vocabulary.

    Args:
        config: the folder's `config.json`.
        vocabulary: its `vocab.txt`, the word pieces, one a line.
        weights: its `model.safetensors`.
        words: the words, specials first.

    Returns:
        The state of a `Bert` whose table has the pieces of these words only, its sizes, and which rows of the
        table each word is, int64 [words, most pieces], -1 where there is none; the rows of `BEGINNING` and
        `CLOSING` are 0 and 1.

    Raises:
        WeightsError: a file cannot be read, is damaged, or is of another network.
    """
    try:
        stated = json.loads(config.read_text(encoding="utf-8"))
        sizes, layers = _sizes(stated)
        listed = vocabulary.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        numbers = {piece: number for number, piece in enumerate(listed)}
        spelled = list(_spelled(words, numbers))
        used = [numbers[BEGINNING], numbers[CLOSING]]
        used += sorted({number for pieces in spelled for number in pieces} - set(used))
        with safe_open(weights, framework="pt") as file:
            state = dict(_state(file, layers))
        state["pieces.weight"] = state["pieces.weight"][used].contiguous()
    except (OSError, ValueError, KeyError, TypeError, IndexError, SafetensorError) as error:
        reason = str(error).splitlines()[0].strip("'\"").rstrip(".") if str(error) else type(error).__name__
        raise WeightsError(
            f"{weights.parent} holds no BERT that can be read: {reason}. It needs {', '.join(FILES)} as "
            "Hugging Face publishes them. Download them again."
        ) from error
    row_of = {number: row for row, number in enumerate(used)}
    rows = torch.full((len(words), max(map(len, spelled))), -1)
    for word, pieces in enumerate(spelled):
        rows[word, : len(pieces)] = torch.tensor([row_of[number] for number in pieces], dtype=torch.int64)
    return state, sizes, rows


def _sizes(stated: dict[str, Any]) -> tuple[BertSizes, int]:
    """Return the sizes, and the number of layers."""
    known = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
    for name, value in known.items():
        if stated.get(name, value) != value:
            raise ValueError(f"its {name} is {stated[name]}, not {value}")
    heads, layers = stated["num_attention_heads"], stated["num_hidden_layers"]
    if layers < 2 or stated["hidden_size"] % heads:
        raise ValueError("its sizes contradict each other")
    return BertSizes(heads, stated.get("layer_norm_eps", 1e-12)), layers


def _spelled(words: Sequence[str], numbers: dict[str, int]) -> Iterator[list[int]]:
    """Yield the pieces of every word, as BERT's own tokeniser cuts it."""
    try:
        from tokenizers import BertWordPieceTokenizer
    except ImportError as error:
        raise UsageError("BERT needs tokenizers. Type: pip install 'otoscribe[train]'") from error
    tokeniser = BertWordPieceTokenizer(numbers, lowercase=True)
    specials = {PAD: [], START: [], END: [numbers[CLOSING]], UNKNOWN: [numbers[NOTHING]]}
    for place, word in enumerate(words):
        # A word without pieces is no part of a text.
        yield specials[place] if place in specials else tokeniser.encode(word, add_special_tokens=False).ids


def _state(file: Any, layers: int) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights of all layers but the last, as float32, by our names."""
    names = set(file.keys())
    prefix = "bert." if "bert.embeddings.word_embeddings.weight" in names else ""

    def tensor(name: str) -> Tensor:
        for new, old in OLD.items():
            if name not in names:
                name = name.replace(new, old)
        return file.get_tensor(name).float()  # type: ignore[no-any-return]

    embeddings = f"{prefix}embeddings"
    yield "pieces.weight", tensor(f"{embeddings}.word_embeddings.weight")
    kinds = tensor(f"{embeddings}.token_type_embeddings.weight")
    # Every text is of the first of two kinds.
    yield "positions.weight", tensor(f"{embeddings}.position_embeddings.weight") + kinds[0]
    for part in ("weight", "bias"):
        yield f"norm.{part}", tensor(f"{embeddings}.LayerNorm.{part}")
        for layer in range(layers - 1):
            for theirs, ours in LAYER.items():
                name = f"{prefix}encoder.layer.{layer}.{theirs}.{part}"
                yield f"layers.{layer}.{ours}.{part}", tensor(name)
