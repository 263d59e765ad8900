"""The label-set adapter: evidence against numpy, sets against brute force, the rest against the planted."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from otoscribe.model.adapters.label_set import (
    ANY_TIME,
    CLASSES,
    EARLIER,
    EVIDENCE_WEIGHT,
    FEMALE_VOICE,
    LATER,
    LIMIT,
    MALE_VOICE,
    NOTHING,
    PITCHES,
    PLACES,
    PRIOR_WEIGHT,
    SPEECH,
    SPEECH_EVIDENCE,
    STRENGTHS,
    LabelSet,
)

SETS = [(3,), (3, 7), (7,), (3, 7, 11), (500,), (11, 500)]
COUNTS = [40.0, 9.0, 25.0, 2.0, 60.0, 1.0]


@pytest.fixture
def adapter() -> LabelSet:
    """Return an adapter with calibration, prior and sets that were made up."""
    torch.manual_seed(0)
    adapter = LabelSet(
        LabelSet.Settings(d_model=16, heads=2, head_dim=8, ff=32, sets=len(SETS)), CLASSES + PITCHES
    )
    generator = torch.Generator().manual_seed(1)
    adapter.coefficients.copy_(torch.tensor([0.7, 0.2, 0.9, -0.8]))
    adapter.intercept.fill_(0.4)
    adapter.class_prior.copy_(0.001 + 0.2 * torch.rand(CLASSES, generator=generator))
    adapter.members.copy_(torch.tensor([[*s, *[NOTHING] * (PLACES - len(s))] for s in SETS]))
    adapter.log_counts.copy_(torch.tensor(COUNTS).log())
    return adapter.eval()


def random_logits(clips: int, frames: int, seed: int = 0) -> Tensor:
    return 4.0 * torch.randn(clips, frames, CLASSES, generator=torch.Generator().manual_seed(seed)) - 4.0


def hearing(logits: Tensor, low: float = 0.0, high: float = 0.0) -> Tensor:
    """Put the shares of low, high and any voice beside logits."""
    shares = torch.tensor([low, high, low + high]).expand(*logits.shape[:2], PITCHES)
    return torch.cat([logits, shares], dim=-1)


def whole(logits: Tensor) -> Tensor:
    return torch.ones(logits.shape[:2], dtype=torch.bool)


def test_evidence_is_the_posterior_logit_less_the_prior_logit(adapter: LabelSet) -> None:
    logits = random_logits(2, 5).clamp(-LIMIT, LIMIT)
    x = logits.double().numpy()
    mean = (1.0 / (1.0 + np.exp(-x))).mean(axis=1)
    prior = adapter.class_prior.double().numpy()
    prior_logit = np.log(prior / (1.0 - prior))
    weights, intercept = adapter.coefficients.double().numpy(), float(adapter.intercept)
    expected = np.empty_like(mean)
    for clip in range(len(mean)):
        for label in range(CLASSES):
            score = mean[clip, label]
            features = [
                np.log((score + 1e-4) / (1.0 - score + 1e-4)),
                x[clip, :, label].max(),
                prior_logit[label],
                np.log(1 + np.sum(mean[clip] > score)),
            ]
            expected[clip, label] = weights @ features + intercept - prior_logit[label]
    found = adapter.evidence(logits, whole(logits))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_calibration_features_are_what_the_coefficients_weigh(adapter: LabelSet) -> None:
    logits = random_logits(2, 4).clamp(-LIMIT, LIMIT)
    features = adapter.calibration_features(logits, whole(logits))
    prior = adapter.class_prior.logit()
    expected = (features * adapter.coefficients).sum(-1) + adapter.intercept - prior
    torch.testing.assert_close(adapter.evidence(logits, whole(logits)), expected)


def test_the_most_probable_set_is_the_one_that_brute_force_finds(adapter: LabelSet) -> None:
    evidence = 3.0 * torch.randn(200, CLASSES, generator=torch.Generator().manual_seed(4))
    found = adapter.most_probable_set(evidence)
    chosen = set()
    for row in range(len(evidence)):
        scores = [
            PRIOR_WEIGHT * np.log(count)
            + EVIDENCE_WEIGHT * sum(float(evidence[row, label]) for label in labels)
            for labels, count in zip(SETS, COUNTS, strict=True)
        ]
        best = SETS[int(np.argmax(scores))]
        chosen.add(best)
        assert found[row].tolist() == [*best, *[NOTHING] * (PLACES - len(best))]
    assert len(chosen) > 4  # else the draw tested little


def test_a_frequent_set_wins_where_the_sound_tells_nothing(adapter: LabelSet) -> None:
    assert adapter.most_probable_set(torch.zeros(1, CLASSES))[0, 0] == 500


@pytest.mark.parametrize("label", [MALE_VOICE, FEMALE_VOICE, NOTHING])
def test_a_place_without_a_class_carries_no_evidence(adapter: LabelSet, label: int) -> None:
    adapter.members[0, 0] = label
    adapter.log_counts.zero_()
    evidence = torch.full((1, CLASSES), -1.0)
    assert adapter.most_probable_set(evidence)[0, 0] == label
    assert adapter.most_probable_set(-evidence)[0].tolist()[:3] == [3, 7, 11]


def test_strengths_are_parted_by_their_limits(adapter: LabelSet) -> None:
    around = [limit + step for limit in STRENGTHS for step in (-0.01, 0.01)]
    assert adapter.strength(torch.tensor([-9.0, *around, 9.0])).tolist() == [1, 1, 2, 2, 3, 3, 4, 4]
    assert adapter.strengths.num_embeddings == 5


def planted(spans: list[tuple[int, int]], frames: int = 20) -> tuple[Tensor, Tensor]:
    """Return the logits of labels that are heard from frame to frame, and the labels, the rest NOTHING."""
    logits = torch.full((1, frames, PLACES), -LIMIT)
    for place, (start, end) in enumerate(spans):
        logits[0, start:end, place] = 5.0
    return logits, torch.tensor([[*range(len(spans)), *[NOTHING] * (PLACES - len(spans))]])


@pytest.mark.parametrize(
    ("spans", "times"),
    [
        ([(0, 8), (12, 20)], [EARLIER, LATER]),
        ([(12, 20), (0, 8)], [LATER, EARLIER]),
        ([(0, 8), (12, 20), (0, 20)], [EARLIER, LATER, ANY_TIME]),
        ([(0, 3), (3, 6), (12, 20)], [EARLIER, EARLIER, LATER]),
        ([(0, 20), (0, 20)], [ANY_TIME, ANY_TIME]),
        ([(0, 12), (8, 20)], [EARLIER, LATER]),
        ([(0, 14), (6, 20)], [ANY_TIME, ANY_TIME]),
        ([(8, 12), (0, 20)], [ANY_TIME, ANY_TIME]),
        ([(0, 8)], [ANY_TIME]),
        ([(0, 8), (0, 8)], [ANY_TIME, ANY_TIME]),
    ],
)
def test_what_is_heard_before_other_things_is_earlier(
    adapter: LabelSet, spans: list[tuple[int, int]], times: list[int]
) -> None:
    logits, labels = planted(spans)
    found = adapter.time(logits, labels, whole(logits))
    assert found[0].tolist() == [*times, *[ANY_TIME] * (PLACES - len(times))]


def test_times_do_not_change_with_padding_or_with_the_labels_places(adapter: LabelSet) -> None:
    logits, labels = planted([(0, 8), (12, 20), (0, 20)])
    padded = torch.nn.functional.pad(logits, (0, 0, 0, 9), value=7.0)
    mask = torch.arange(29)[None] < 20
    expected = adapter.time(logits, labels, whole(logits))
    assert torch.equal(adapter.time(padded, labels, mask), expected)
    for order in itertools.permutations(range(3)):
        places = [*order, *range(3, PLACES)]
        assert torch.equal(adapter.time(logits[:, :, places], labels, whole(logits)), expected[:, places])


def sounding(spans: dict[int, tuple[int, int]], frames: int = 20) -> Tensor:
    logits = torch.full((1, frames, CLASSES), -LIMIT)
    for label, (start, end) in spans.items():
        logits[0, start:end, label] = 6.0
    return logits


def embedded(adapter: LabelSet, logits: Tensor, labels: list[int], times: list[int]) -> Tensor:
    evidence = adapter.evidence(logits, whole(logits))
    return adapter.embed(
        torch.tensor([labels]),
        adapter.strength(evidence[:, labels]),
        torch.tensor([times]),
        torch.tensor([0]),
    )[0]


def test_memory_is_the_style_and_the_labels_with_strength_and_time(adapter: LabelSet) -> None:
    logits = sounding({3: (0, 8), 7: (12, 20)})
    adapter.log_counts.zero_()
    memory, mask, _ = adapter(hearing(logits), None)
    assert memory.shape == (1, 2 + PLACES, adapter.width)
    assert mask is not None
    assert mask[0].tolist() == [True] * 3 + [False] * (PLACES - 1)
    right = embedded(adapter, logits, [3, 7], [EARLIER, LATER])
    torch.testing.assert_close(memory[:, :3], right, rtol=1e-5, atol=1e-5)
    wrong = embedded(adapter, logits, [3, 7], [ANY_TIME, ANY_TIME])
    assert not torch.allclose(memory[:, :3], wrong, atol=1e-3)


@pytest.mark.parametrize(
    ("low", "high", "voice"),
    [
        (0.5, 0.0, MALE_VOICE),
        (0.0, 0.5, FEMALE_VOICE),
        (0.4, 0.1, MALE_VOICE),
        (0.2, 0.3, NOTHING),
        (0.04, 0.46, NOTHING),
        (0.02, 0.0, NOTHING),
        (0.0, 0.0, NOTHING),
    ],
)
def test_a_clear_voice_is_a_mans_or_a_womans(adapter: LabelSet, low: float, high: float, voice: int) -> None:
    logits = sounding({SPEECH: (0, 20)})
    pitches = hearing(logits, low, high)[..., CLASSES:]
    assert adapter.voice(logits[..., SPEECH], pitches, whole(logits)).tolist() == [voice]
    half = torch.arange(20)[None] < 10
    swapped = torch.where(half[..., None], pitches, pitches[..., [1, 0, 2]])
    assert adapter.voice(logits[..., SPEECH], swapped, half).tolist() == [voice]


def test_pitch_counts_only_where_speech_is_heard(adapter: LabelSet) -> None:
    logits = sounding({SPEECH: (0, 10)})
    pitches = hearing(logits, low=0.5)[..., CLASSES:].clone()
    pitches[:, 10:] = pitches[:, 10:][..., [1, 0, 2]]  # a whistle, say
    assert adapter.voice(logits[..., SPEECH], pitches, whole(logits)).tolist() == [MALE_VOICE]


def test_the_last_place_is_the_voice_if_speech_is_heard(adapter: LabelSet) -> None:
    speaking, silent = sounding({SPEECH: (0, 20)}), sounding({3: (0, 20)})
    for logits, speaks in ((speaking, True), (silent, False)):
        evidence = adapter.evidence(logits, whole(logits))
        assert bool(evidence[0, SPEECH] > SPEECH_EVIDENCE) is speaks
        _, mask, _ = adapter(hearing(logits, low=0.5), None)
        assert bool(mask[0, -1]) is speaks
    man, *_ = adapter(hearing(speaking, low=0.5), None)
    woman, *_ = adapter(hearing(speaking, high=0.5), None)
    assert not torch.allclose(man[:, -1], woman[:, -1], atol=1e-3)


def test_logits_beyond_the_limit_count_as_the_limit(adapter: LabelSet) -> None:
    logits = 10.0 * random_logits(1, 6)
    memory, *_ = adapter(hearing(logits), None)
    assert torch.equal(adapter(hearing(logits.clamp(-LIMIT, LIMIT)), None)[0], memory)


def test_memory_does_not_change_with_padding(adapter: LabelSet) -> None:
    features = hearing(random_logits(3, 6, seed=5), low=0.3, high=0.1)
    memory, mask, _ = adapter(features, None)
    padded = torch.nn.functional.pad(features, (0, 0, 0, 4), value=30.0)
    found, found_mask, _ = adapter(padded, torch.arange(10).expand(3, -1) < 6)
    assert torch.equal(mask, found_mask)
    torch.testing.assert_close(found[mask], memory[mask], rtol=1e-5, atol=1e-5)


def test_the_order_of_the_labels_is_no_part_of_the_memory(adapter: LabelSet) -> None:
    labels, strengths = torch.tensor([[3, 7, 11]]), torch.tensor([[1, 4, 2]])
    times, style = torch.tensor([[EARLIER, LATER, ANY_TIME]]), torch.tensor([1])
    memory, *_ = adapter.embed(labels, strengths, times, style)
    order = [2, 0, 1]
    turned, _ = adapter.embed(labels[:, order], strengths[:, order], times[:, order], style)
    torch.testing.assert_close(turned[:, 0], memory[:, 0])
    torch.testing.assert_close(turned[:, 1:], memory[:, 1:][:, order])


def test_what_stands_in_a_place_without_a_label_changes_no_other_place(adapter: LabelSet) -> None:
    labels, style = torch.tensor([[3, NOTHING]]), torch.tensor([0])
    memory, *_ = adapter.embed(labels, torch.tensor([[2, 0]]), torch.tensor([[0, 0]]), style)
    other, mask = adapter.embed(labels, torch.tensor([[2, 4]]), torch.tensor([[0, 2]]), style)
    torch.testing.assert_close(other[mask], memory[mask])


def test_captions_are_asked_for_in_the_first_corpus_style(adapter: LabelSet) -> None:
    features = hearing(random_logits(1, 3))
    memory, *_ = adapter(features, None)
    with torch.no_grad():
        adapter.styles.weight[1] += 1.0
    assert torch.equal(adapter(features, None)[0], memory)
    with torch.no_grad():
        adapter.styles.weight[0] += torch.arange(adapter.width)
    assert not torch.equal(adapter(features, None)[0], memory)
