"""Every kind of word embedding passes these; a new file in model/words is tested without a change here."""

import pytest
import torch
from torch import Tensor

from otoscribe.model.words.base import StaticWords, WordEmbedding, WordSettings
from otoscribe.text.vocabulary import END, PAD, START
from support.words import built, every_kind, title

LISTED = ("<pad>", "<start>", "<end>", "<unknown>", "a", "dog", "barks", "rain", "falls")
HISTORY = torch.tensor([[START, 4, 5, 6, END], [START, 7, 8, END, PAD]])


@pytest.fixture(params=list(every_kind()), ids=title)
def settings(request: pytest.FixtureRequest) -> WordSettings:
    chosen: WordSettings = request.param
    return chosen


@pytest.fixture
def words(settings: WordSettings) -> WordEmbedding:
    torch.manual_seed(1)
    return built(settings, LISTED).eval()


def leaks(words: WordEmbedding) -> list[int]:
    """Return at which times a vector changes with a word after it."""
    before = words(HISTORY)
    found = []
    for time in range(HISTORY.shape[1] - 1):
        changed = HISTORY.clone()
        changed[:, time + 1 :] = 6
        if not torch.equal(words(changed)[:, : time + 1], before[:, : time + 1]):
            found.append(time)
    return found


def test_every_word_has_a_vector_of_the_promised_width(words: WordEmbedding) -> None:
    vectors = words(HISTORY)
    assert vectors.shape == (*HISTORY.shape, words.width)
    assert vectors.dtype == torch.float32
    assert vectors.isfinite().all()
    assert words(HISTORY[None]).shape == (1, *HISTORY.shape, words.width)


def test_the_newest_is_the_last_of_all(words: WordEmbedding) -> None:
    for time in range(1, HISTORY.shape[1] + 1):
        history = HISTORY[:, :time]
        torch.testing.assert_close(words.newest(history), words(history)[:, -1])


def test_start_is_the_zero_vector(words: WordEmbedding) -> None:
    assert (words(HISTORY)[:, 0] == 0).all()
    assert (words(HISTORY)[:, 1:3] != 0).any(-1).all()


def test_no_vector_depends_on_a_word_after_it_unless_it_says_so(words: WordEmbedding) -> None:
    assert bool(leaks(words)) is words.leaky


def test_what_leaks_is_what_reads_whole_captions(settings: WordSettings, words: WordEmbedding) -> None:
    assert words.leaky is (title(settings) == "bert-full")


def test_the_leak_is_found_where_there_is_one(words: WordEmbedding, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = type(words).forward

    def leaking(self: WordEmbedding, history: Tensor) -> Tensor:
        return forward(self, history) + history[..., -1:, None]

    monkeypatch.setattr(type(words), "forward", leaking)
    assert leaks(words) == [0, 1, 2, 3]


def test_the_same_seed_gives_the_same_words(settings: WordSettings, words: WordEmbedding) -> None:
    torch.manual_seed(1)
    assert torch.equal(built(settings, LISTED).eval()(HISTORY), words(HISTORY))


def test_a_table_holds_the_vector_of_every_word(words: WordEmbedding) -> None:
    assert (words.table is not None) or not isinstance(words, StaticWords)
    if words.table is not None:
        assert words.table.shape == (len(LISTED), words.width)
        torch.testing.assert_close(words(HISTORY), words.table[HISTORY])


def test_gradient_reaches_every_weight_that_is_tuned(words: WordEmbedding) -> None:
    output = words.train()(HISTORY)
    assert output.requires_grad is any(weight.requires_grad for weight in words.parameters())
    if output.requires_grad:
        output.square().sum().backward()
    for weight in words.parameters():
        assert (weight.grad is not None) is weight.requires_grad
