"""Batches: every pair once, no clip twice, like lengths together, and no more padding than needed."""

from itertools import islice, pairwise

import pytest
import torch

from otoscribe.text.vocabulary import END, PAD, START
from otoscribe.train.batches import ClipBatch, Split, pad


def made(clips: int = 60, captions: int = 5) -> Split:
    """Clip i's features hold i; its captions are 2 to 12 words that name clip and caption."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(1, 30, (clips,), generator=generator).tolist()
    lengths = torch.randint(2, 13, (clips, captions), generator=generator).tolist()
    return Split(
        [torch.full((count, 2), float(clip)) for clip, count in enumerate(frames)],
        [
            [[10 + clip * captions + caption] * length for caption, length in enumerate(row)]
            for clip, row in enumerate(lengths)
        ],
    )


def pairs_of(batches: list[ClipBatch]) -> list[tuple[int, tuple[int, ...]]]:
    """Read clip and caption back from every row."""
    pairs = []
    for batch in batches:
        rows = batch.rows
        packed = iter(zip(rows.tokens.flatten()[rows.places].tolist(), rows.targets.tolist(), strict=True))
        for tokens, place in zip(rows.tokens, rows.clip_of_row, strict=True):
            start, *words = tokens[tokens != PAD].tolist()
            assert start == START
            assert tokens[len(words) + 1 :].eq(PAD).all()
            assert list(islice(packed, len(words) + 1)) == list(pairwise([START, *words, END]))
            pairs.append((int(batch.features[place, 0, 0]), tuple(words)))
        assert not list(packed)
    return pairs


def expected(split: Split) -> list[tuple[int, tuple[int, ...]]]:
    return sorted((clip, tuple(words)) for clip, row in enumerate(split.captions) for words in row)


def test_every_pair_comes_once_in_training_and_in_validation() -> None:
    split = made()
    assert sorted(pairs_of(list(split.training_batches(16, seed=1, epoch=1)))) == expected(split)
    assert sorted(pairs_of(list(split.validation_batches(16)))) == expected(split)


def test_a_clip_is_in_one_batch_once_with_all_its_captions() -> None:
    for batch in made().training_batches(16, seed=1, epoch=1):
        clips = batch.features[:, 0, 0].tolist()
        assert len(set(clips)) == len(clips)
        assert len(batch.rows.tokens) == 5 * len(clips)


def test_batches_are_about_equally_large() -> None:
    sizes = [len(pairs_of([batch])) for batch in made(61).training_batches(16, seed=1, epoch=1)]
    assert min(sizes) >= 10
    assert max(sizes) <= 20


def test_masks_mark_the_real_frames_and_are_left_out_where_nothing_is_padded() -> None:
    features, mask = pad([torch.ones(2, 3), torch.ones(4, 3)])
    assert mask is not None
    assert mask.tolist() == [[True, True, False, False], [True] * 4]
    assert torch.equal(features.sum(dim=2) == 3, mask)
    assert pad([torch.ones(2, 3), torch.ones(2, 3)])[1] is None


def test_targets_count_real_tokens_and_pairs_captions() -> None:
    split = made()
    batches = list(split.training_batches(16, seed=1, epoch=1))
    words = [len(words) + 1 for row in split.captions for words in row]
    assert sum(batch.targets for batch in batches) == sum(words)
    assert sum(batch.pairs for batch in batches) == split.pairs == len(words)


def test_like_lengths_save_most_padding_of_frames() -> None:
    split = made(400)
    batches = list(split.training_batches(64, seed=1, epoch=1))
    frames = sum(len(features) for features in split.features)
    assert frames / sum(batch.features.shape[:2].numel() for batch in batches) > 0.8


def test_order_depends_on_seed_and_epoch_only() -> None:
    def order(seed: int, epoch: int) -> list[tuple[int, tuple[int, ...]]]:
        return pairs_of(list(made().training_batches(16, seed, epoch)))

    assert order(1, 1) == order(1, 1)
    assert order(1, 1) != order(1, 2)
    assert order(1, 1) != order(2, 1)


def test_batches_are_not_in_order_of_length() -> None:
    lengths = [batch.features.shape[1] for batch in made().training_batches(16, seed=1, epoch=1)]
    assert lengths != sorted(lengths)


def test_one_clip_is_a_batch() -> None:
    (batch,) = Split([torch.ones(1, 2)], [[[5]]]).training_batches(256, seed=0, epoch=1)
    assert batch.targets == 2
    assert batch.mask is None


def test_features_and_captions_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="1 clips have features, 0 have captions"):
        Split([torch.ones(1, 2)], [])
