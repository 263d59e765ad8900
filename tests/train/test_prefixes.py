"""Vectors of captions' beginnings: computed once, kept whole, and the same as those of the words."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from otoscribe.errors import RunError
from otoscribe.model.words.base import WordEmbedding
from otoscribe.model.words.bert import BertSettings
from otoscribe.text.vocabulary import PAD, START, Vocabulary
from otoscribe.train.prefixes import PrefixStates, levels_of
from support.words import built

TEXTS = ["a dog barks", "a dog barks while rain falls", "a bird sings", "rain falls on the roof", "a"]
VOCABULARY = Vocabulary.from_captions(TEXTS)
CAPTIONS = [VOCABULARY.encode(text) for text in TEXTS]
BEGINNINGS = {tuple(caption[:time]) for caption in CAPTIONS for time in range(1, len(caption) + 1)}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def words() -> WordEmbedding:
    return built(BertSettings(), VOCABULARY.words).eval()


def states_in(folder: Path, captions: list[list[int]] = CAPTIONS, weights: str = "sha256:1") -> PrefixStates:
    return PrefixStates(folder, captions, len(VOCABULARY), weights, 16)


def batch() -> Tensor:
    longest = max(map(len, CAPTIONS))
    return torch.tensor([[START, *caption, *[PAD] * (longest - len(caption))] for caption in CAPTIONS])


def computed(folder: Path, words: WordEmbedding) -> PrefixStates:
    states = states_in(folder)
    states.compute(words, CPU)
    return states


def test_every_beginning_is_there_once_and_keys_ascend() -> None:
    levels = list(levels_of([*CAPTIONS, *CAPTIONS, []], len(VOCABULARY)))
    found = [tuple(row[1:]) for _, histories in levels for row in histories.tolist()]
    assert len(found) == len(set(found))
    assert set(found) == BEGINNINGS
    keys = np.concatenate([keys for keys, _ in levels])
    assert (np.diff(keys) > 0).all()
    assert [histories.shape[1] for _, histories in levels] == [2, 3, 4, 5, 6, 7]


def test_vectors_are_those_of_the_words(tmp_path: Path, words: WordEmbedding) -> None:
    states = computed(tmp_path, words)
    assert len(states) == len(BEGINNINGS)
    torch.testing.assert_close(states(batch()), words(batch()), rtol=1e-4, atol=1e-5)
    assert sorted(path.suffix for path in (tmp_path / "prefixes").iterdir()) == [".f32", ".sha256"]
    assert states.path.stat().st_size == 4 * 16 * len(BEGINNINGS)


class Counting(torch.nn.Module):
    """Words that count for how many beginnings they were asked, and may be interrupted."""

    def __init__(self, words: WordEmbedding, stop_after: int | None = None) -> None:
        super().__init__()
        self.words = words
        self.asked = 0
        self.left = stop_after

    def newest(self, history: Tensor) -> Tensor:
        if self.left is not None and self.asked >= self.left:
            raise KeyboardInterrupt
        self.asked += len(history)
        return self.words.newest(history)


def test_what_is_kept_is_not_computed_again(tmp_path: Path, words: WordEmbedding) -> None:
    counting = Counting(words)
    for _ in range(2):
        states_in(tmp_path).compute(counting, CPU)
        assert counting.asked == len(BEGINNINGS)


@pytest.mark.parametrize("size", [0, 1, 63, 64, 200, 10_000])
def test_an_interrupted_call_is_gone_on_with_from_any_byte(
    tmp_path: Path, words: WordEmbedding, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otoscribe.train.prefixes.TOGETHER", 2)
    whole = computed(tmp_path / "whole", words)
    states = states_in(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        states.compute(Counting(words, stop_after=5), CPU)
    part = states.path.with_name(states.path.name + ".part")
    assert not states.path.exists()
    part.write_bytes((whole.path.read_bytes() + b"more")[:size])
    counting = Counting(words)
    states.compute(counting, CPU)
    left = max(len(BEGINNINGS) - size // 64, 0)
    assert left <= counting.asked <= left + (left > 0)  # one of two that were computed together, again
    assert states.path.read_bytes() == whole.path.read_bytes()
    assert not part.exists()


def test_a_damaged_file_is_computed_again(tmp_path: Path, words: WordEmbedding) -> None:
    states = computed(tmp_path, words)
    good = states.path.read_bytes()
    states.path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.warns(UserWarning, match=r"is damaged and is computed again"):
        states_in(tmp_path).compute(words, CPU)
    assert states.path.read_bytes() == good


def test_other_captions_and_other_weights_have_files_of_their_own(tmp_path: Path) -> None:
    paths = {
        states_in(tmp_path).path,
        states_in(tmp_path, list(reversed(CAPTIONS))).path,
        states_in(tmp_path, CAPTIONS[:-2]).path,
        states_in(tmp_path, weights="sha256:2").path,
    }
    assert len(paths) == 3


def test_a_caption_that_was_not_computed_is_an_error(tmp_path: Path, words: WordEmbedding) -> None:
    states = computed(tmp_path, words)
    with pytest.raises(ValueError, match="A caption begins as none does"):
        states(torch.tensor([[START, *reversed(CAPTIONS[0])]]))


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, words: WordEmbedding) -> None:
    (tmp_path / "prefixes").write_text("a file")
    with pytest.raises(RunError, match=r"The words' vectors cannot be kept in .*--features FOLDER"):
        computed(tmp_path, words)
