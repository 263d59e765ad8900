import pytest
import torch

from otoscribe.errors import UsageError
from otoscribe.model.words.base import WORDS
from otoscribe.model.words.random import RandomWords
from otoscribe.text.vocabulary import END, PAD, START

LISTED = ("<pad>", "<start>", "<end>", "<unknown>", "a", "dog", "barks")


def random_words(width: int = 8, spread: float = 1.0) -> RandomWords:
    torch.manual_seed(0)
    return RandomWords(RandomWords.Settings(width=width, spread=spread), LISTED)


def test_every_word_but_start_has_a_vector_of_its_own() -> None:
    words = random_words()
    vectors = words(torch.arange(len(LISTED)))
    assert words.width == 8
    assert vectors.shape == (len(LISTED), 8)
    assert torch.equal(vectors[START], torch.zeros(8))
    assert torch.equal(words.table, vectors)
    assert len({tuple(row.tolist()) for row in vectors}) == len(LISTED)


def test_start_stays_zero_when_tied_weights_are_trained_with_weight_decay() -> None:
    words = random_words()
    before = words.table.detach().clone()
    optimiser = torch.optim.AdamW(words.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        embedded = words(torch.tensor([[START, 4, 5, END]]))
        torch.nn.functional.cross_entropy(
            (embedded @ words.table.T)[0], torch.tensor([4, 5, END, PAD])
        ).backward()
        optimiser.step()
    assert torch.equal(words.table[START], torch.zeros(8))
    assert (words.table[4:] != before[4:]).any(dim=1).all()


def test_start_stays_zero_when_a_checkpoint_gives_it_a_value() -> None:
    words = random_words()
    words.load_state_dict({"vectors": torch.ones(len(LISTED), 8)})
    assert torch.equal(words.table[START], torch.zeros(8))
    assert torch.equal(words.table[START + 1], torch.ones(8))


def test_spread_scales_the_first_vectors() -> None:
    assert torch.allclose(random_words(spread=0.25).table, 0.25 * random_words().table)


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"There is no word embedding named 'randon'. Did you mean 'random'"):
        WORDS["randon"]


def test_fixed_words_stay_as_they_begin() -> None:
    torch.manual_seed(0)
    words = RandomWords(RandomWords.Settings(width=8, tuned=False), LISTED)
    assert not [one for one in words.parameters() if one.requires_grad]
    assert torch.equal(words.table, random_words().table)
