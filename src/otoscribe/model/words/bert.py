"""BERT's states as word embeddings (Devlin et al., 2019): fixed, of the last layer but one, as in the paper.

A word is the mean of its pieces' states. What BERT reads decides what a state knows:

    prefix    the words so far, anew at every word; what a captioner can know
    static    each word alone, which makes a table
    full      the whole caption, so that every state knows the words to come: a leak, for comparison only
"""

from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from otoscribe.errors import SettingsError
from otoscribe.fetch.published import PublishedFile
from otoscribe.model.bert import Bert, BertSizes
from otoscribe.model.vectors.bert_folder import FILES, read_bert
from otoscribe.model.vectors.published import WordsSpec, found_files
from otoscribe.model.words.base import Beginning, Origin, PublishedSettings, WordEmbedding

_ADDRESS = (
    "https://huggingface.co/google-bert/bert-base-uncased/resolve/1dbc166cf8765166998eff31ade2eb64c8a40076"
)
MARKS = 2
"""Pieces before and after every text, the first rows of a network's table."""
ALIKE = 64
"""Texts of like length that are read at once: few enough that what is between two layers stays in cache."""


class BertSettings(PublishedSettings):
    """Settings of BERT's states."""

    name: Literal["bert"] = "bert"
    mode: Literal["prefix", "static", "full"] = "prefix"
    """What BERT reads: the words so far, each word alone, or the whole caption, which leaks."""


class BertWords(WordEmbedding):
    """States of a network that stays as it is, and outside of runs, which know it by its hash."""

    Settings = BertSettings
    spec = WordsSpec(
        name="bert",
        paper="Devlin et al. (2019), https://arxiv.org/abs/1810.04805",
        licence="Apache-2.0",
        files=(
            (
                # Nobody states a checksum of the first; it is that of the revision in its address.
                PublishedFile("config.json", (f"{_ADDRESS}/config.json",), None, None),
                PublishedFile(
                    "vocab.txt",
                    (f"{_ADDRESS}/vocab.txt",),
                    231_508,
                    "sha256:07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
                ),
                PublishedFile(
                    "model.safetensors",
                    (f"{_ADDRESS}/model.safetensors",),
                    None,
                    "sha256:68d45e234eb4a928074dfd868cead0219ab85354cc53d20e772753c6bb9169d3",
                ),
            ),
        ),
        layouts=(FILES,),
    )

    def __init__(self, settings: BertSettings, words: tuple[str, ...]) -> None:
        super().__init__(settings, words)
        if settings.width is None:
            raise SettingsError(
                "The width of 'bert' is that of its files, which were not read. Name it as words.width, or "
                "load the files."
            )
        self.width = settings.width
        self.mode = settings.mode
        self.leaky = settings.mode == "full"
        self.network: Bert | None = None
        self.pieces: Tensor
        self.vectors: nn.Parameter | None = None
        if settings.mode == "static":
            self.vectors = nn.Parameter(torch.zeros(len(words), settings.width), requires_grad=False)

    @classmethod
    def needs_files(cls, settings: BertSettings) -> bool:
        """Tell: a table is kept in the run, a network is not."""
        return settings.mode != "static"

    @classmethod
    def is_slow(cls, settings: BertSettings) -> bool:
        """Tell: a network is run for every word."""
        return settings.mode == "prefix"

    @classmethod
    def gather(cls, settings: BertSettings, words: tuple[str, ...], origin: Origin) -> Beginning:
        """Read the network; no word is missing, as pieces spell them all."""
        config, vocabulary, weights = found_files(cls.spec, origin.folder)
        state, sizes, pieces = read_bert(config, vocabulary, weights, words)
        width = state["pieces.weight"].shape[1]
        if settings.mode == "static":
            network = Bert(state, sizes)
            vectors = states(network, pieces, torch.arange(len(words))[:, None])[:, 0]
            return Beginning({"vectors": vectors}, width, ())
        sized = {
            "heads": torch.tensor(sizes.heads),
            "epsilon": torch.tensor(sizes.epsilon, dtype=torch.float64),
        }
        return Beginning({**state, **sized, "table": pieces}, width, ())

    def begin(self, beginning: Beginning) -> None:
        """Take the network, or the table made by it."""
        values = dict(beginning.values)
        if self.vectors is not None:
            self.vectors.copy_(values["vectors"])
            return
        sizes = BertSizes(int(values.pop("heads")), float(values.pop("epsilon")))
        self.register_buffer("pieces", values.pop("table"), persistent=False)
        self.network = Bert(values, sizes)
        self.network.register_state_dict_post_hook(_left_out)  # type: ignore[no-untyped-call]
        self.network.register_load_state_dict_post_hook(_not_missed)  # type: ignore[no-untyped-call]

    @property
    def table(self) -> Tensor | None:
        """The vectors of words that are read alone, [vocabulary, width]."""
        return self.vectors

    def forward(self, history: Tensor) -> Tensor:
        """Embed int64 ids [..., time] as [..., time, width]."""
        if self.vectors is not None:
            return nn.functional.embedding(history, self.vectors)
        if self.leaky:
            return self._read(history)
        times = range(1, history.shape[-1] + 1)
        return torch.stack([self.newest(history[..., :time]) for time in times], dim=-2)

    def newest(self, history: Tensor) -> Tensor:
        """Embed the last of int64 ids [..., time] as [..., width]."""
        if self.vectors is not None:
            return nn.functional.embedding(history[..., -1], self.vectors)
        return self._read(history, last=1)[..., 0, :]

    def _read(self, history: Tensor, last: int | None = None) -> Tensor:
        assert self.network is not None
        flat = states(self.network, self.pieces, history.reshape(-1, history.shape[-1]), last)
        return flat.reshape(*history.shape[:-1], *flat.shape[1:])


def states(network: Bert, table: Tensor, history: Tensor, last: int | None = None) -> Tensor:
    """Read texts, and return the mean state of every word's pieces.

    Args:
        network: reads them.
        table: pieces of every word, int64 [vocabulary, most], -1 where there is none.
        history: ids of the words, int64 [rows, time]; a word without pieces is no part of the text.
        last: how many words' states are wanted, counted from the end; None: all.

    Returns:
        float32 [rows, time or last, width]; zero for a word without pieces.
    """
    # A graph is traced for any number of texts, and gets few.
    if len(history) <= ALIKE or torch.compiler.is_exporting():
        return _states(network, table, history, last)
    order = (table[history] >= 0).sum(dim=(1, 2)).argsort(stable=True)
    found = [_states(network, table, history[part], last) for part in torch.split(order, ALIKE)]
    return torch.cat(found)[order.argsort()]


def _states(network: Bert, table: Tensor, history: Tensor, last: int | None) -> Tensor:
    """Do the same, with all rows filled up to the length of the longest."""
    rows, time = history.shape
    pieces = table[history]  # [rows, time, most]
    real = pieces >= 0
    # Most words have one piece and room for several, so the real ones of a row are moved together.
    slots = torch.arange(pieces[0].numel(), device=history.device)
    order = torch.where(real.flatten(1), slots, slots + slots.shape[0]).argsort(dim=1)  # [rows, time * most]
    total = real.flatten(1).sum(dim=1, keepdim=True)  # [rows, 1]
    longest = _size(total.amax(dim=(0, 1)), slots.shape[0])
    number = slots[:longest]
    text = pieces.flatten(1).gather(1, order[:, :longest]).clamp(min=0)  # [rows, longest]
    # The marks come first: where a piece stands is said by its position, not by its place.
    marks = torch.arange(MARKS, device=history.device).expand(rows, MARKS)
    positions = torch.cat([total * 0, total + 1, (number + 1).expand(rows, -1)], dim=1)
    mask = torch.cat([marks >= 0, number < total], dim=1)
    found = network(torch.cat([marks, text], dim=1), positions, mask)  # [rows, MARKS + longest, width]
    places = real.flatten(1).cumsum(dim=1).view_as(real) + MARKS - 1
    if last is not None:
        places, real = places[:, time - last :], real[:, time - last :]
    of_pieces = found.gather(1, places.flatten(1)[..., None].expand(-1, -1, found.shape[2]))
    own = real[..., None]  # [rows, wanted, most, 1]
    of_words: Tensor = (of_pieces.view(*real.shape, -1) * own).sum(dim=2)
    return of_words / own.sum(dim=2).clamp(min=1)


def _size(longest: Tensor, most: int) -> int:
    """Return a number as the length of a slice; no int yet while a graph is traced for any history."""
    size = cast(int, longest.item())
    torch._check(size >= 0)  # type: ignore[no-untyped-call]
    torch._check(size <= most)  # type: ignore[no-untyped-call]
    return size


def _left_out(module: nn.Module, state: dict[str, Tensor], prefix: str, _: Any) -> None:
    """Keep the network's weights out of what a run saves."""
    for name in [name for name in state if name.startswith(prefix)]:
        del state[name]


def _not_missed(module: nn.Module, keys: Any) -> None:
    """Do without the network's weights in what a run restores."""
    keys.missing_keys[:] = [name for name in keys.missing_keys if "network." not in name]
