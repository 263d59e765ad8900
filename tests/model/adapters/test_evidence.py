"""The evidence memory: strengths against numpy, selection and memory against what was planted."""

import numpy as np
import pytest
import torch
from torch import Tensor

from otoscribe.model.adapters.evidence import (
    CLASSES,
    DOUBT,
    ENOUGH,
    EXPLAINED,
    LIMIT,
    NAMED,
    PITCHES,
    PLACES,
    SPEECH,
    STANDS_OUT,
    USUAL,
    Evidence,
    EvidenceMemory,
    evidence_of,
)

DOG, BARK, RAIN, ALWAYS = 69, 70, 283, 5
STYLES = 2  # those of its settings


@pytest.fixture
def adapter() -> EvidenceMemory:
    """Return an adapter in which a bark explains "Dog", and one class fires in every recording."""
    torch.manual_seed(0)
    settings = EvidenceMemory.Settings(d_model=16, heads=2, head_dim=8, ff=32)
    adapter = EvidenceMemory(settings, CLASSES + PITCHES)
    adapter.background.fill_(-8.0)
    adapter.high.fill_(-7.0)
    adapter.background[ALWAYS], adapter.high[ALWAYS] = 1.0, 2.0
    adapter.explains[BARK, DOG] = 0.9
    return adapter.eval()


def silence(frames: int = 20) -> Tensor:
    """Return logits and pitches of a clip in which nothing is heard, [1, frames, 524]."""
    return torch.cat([torch.full((1, frames, CLASSES), -LIMIT), torch.zeros(1, frames, PITCHES)], dim=-1)


def sounding(spans: dict[int, tuple[int, int]], logit: float = 2.0, frames: int = 20) -> Tensor:
    features = silence(frames)
    for sound, (start, end) in spans.items():
        features[0, start:end, sound] = logit
    return features


def noise(clips: int, frames: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = 4.0 * torch.randn(clips, frames, CLASSES, generator=generator) - 4.0
    return torch.cat([logits, torch.rand(clips, frames, PITCHES, generator=generator)], dim=-1)


def whole(features: Tensor) -> Tensor:
    return torch.ones(features.shape[:2], dtype=torch.bool)


def heard(features: Tensor) -> Evidence:
    return evidence_of(features, whole(features))


def test_strength_is_the_logit_of_the_root_mean_square_of_the_scores() -> None:
    features = noise(2, 7)
    scores = 1.0 / (1.0 + np.exp(-features[..., :CLASSES].clamp(-LIMIT, LIMIT).double().numpy()))
    loud = np.sqrt((scores**2).mean(axis=1))
    expected = np.log((loud + 1e-4) / (1.0 - loud + 1e-4))
    np.testing.assert_allclose(heard(features).strength.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_a_short_sound_keeps_more_strength_than_its_mean_score_would() -> None:
    short, long = sounding({RAIN: (0, 2)}), sounding({RAIN: (0, 20)})
    difference = heard(long).strength[0, RAIN] - heard(short).strength[0, RAIN]
    mean = torch.logit(torch.sigmoid(torch.tensor(2.0)) / 10)
    assert 0.0 < float(difference) < float(2.0 - mean)


@pytest.mark.parametrize(
    ("span", "centre", "duration"),
    [((0, 20), 0.5, 1.0), ((0, 10), 0.25, 0.5), ((10, 20), 0.75, 0.5), ((8, 12), 0.5, 0.2)],
)
def test_centre_and_duration_are_those_of_a_planted_sound(
    span: tuple[int, int], centre: float, duration: float
) -> None:
    evidence = heard(sounding({RAIN: span}, logit=9.0))
    assert float(evidence.duration[0, RAIN]) == pytest.approx(duration, abs=0.02)
    # Drawn to the middle a little, as two frames' worth of doubt is added.
    pull = (span[1] - span[0]) / (span[1] - span[0] + 2)
    assert float(evidence.centre[0, RAIN]) == pytest.approx(0.5 + (centre - 0.5) * pull, abs=0.01)


def test_a_faint_sound_tells_no_time() -> None:
    evidence = heard(sounding({RAIN: (0, 3)}, logit=-5.0))
    assert float(evidence.centre[0, RAIN]) == pytest.approx(0.5, abs=0.01)


def test_pitch_counts_only_where_speech_is_heard() -> None:
    features = sounding({SPEECH: (0, 10)}, logit=9.0)
    features[0, :10, CLASSES:] = torch.tensor([0.5, 0.1, 0.6])
    features[0, 10:, CLASSES:] = torch.tensor([0.0, 1.0, 1.0])  # a whistle, say
    torch.testing.assert_close(heard(features).voices, torch.tensor([[5.0, 1.0, 6.0]]), atol=0.01, rtol=0.0)


def test_evidence_does_not_change_with_padding() -> None:
    features = noise(3, 6)
    padded = torch.nn.functional.pad(features, (0, 0, 0, 4), value=30.0)
    found = evidence_of(padded, torch.arange(10).expand(3, -1) < 6)
    for one, other in zip(heard(features), found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


def test_a_planted_sound_is_selected_first_and_a_stronger_one_before_it(adapter: EvidenceMemory) -> None:
    features = sounding({RAIN: (0, 20), 400: (0, 4)})
    sounds, residues = adapter.select(heard(features).strength)
    assert sounds.shape == residues.shape == (1, PLACES)
    assert sounds[0, :2].tolist() == [RAIN, 400]
    assert len(set(sounds[0].tolist())) == PLACES
    assert bool((residues[0, 1:] <= residues[0, :-1]).all())
    assert float(residues[0, 0]) == pytest.approx(2.0 + USUAL * 7.0, abs=0.01)


def test_what_a_louder_class_explains_comes_after_what_nothing_explains(adapter: EvidenceMemory) -> None:
    features = silence()
    for sound, logit in ((BARK, 3.0), (DOG, 2.0), (RAIN, -2.0)):
        features[0, :, sound] = logit
    strength = heard(features).strength
    sounds, residues = adapter.select(strength)
    assert sounds[0, :3].tolist() == [BARK, RAIN, DOG]
    left = strength[0, DOG] + USUAL * 7.0 - EXPLAINED * 0.9 * (strength[0, BARK] + 8.0)
    assert float(residues[0, 2]) == pytest.approx(float(left), abs=1e-4)
    adapter.explains[BARK, DOG] = 0.0
    assert adapter.select(strength)[0][0, :2].tolist() == [BARK, DOG]


def test_a_class_that_always_fires_counts_by_what_it_has_beyond_that(adapter: EvidenceMemory) -> None:
    features = silence()
    features[0, :, ALWAYS], features[0, :, RAIN] = 2.0, -1.0
    sounds, _ = adapter.select(heard(features).strength)
    assert sounds[0, 0] == RAIN


def memory_of(adapter: EvidenceMemory, features: Tensor) -> Tensor:
    memory: Tensor = adapter(features, None).memory
    return memory


def test_memory_is_styles_sounds_voices_and_an_overview_and_the_first_style_is_shown(
    adapter: EvidenceMemory,
) -> None:
    memory, mask, sources, *_ = adapter(sounding({RAIN: (5, 10)}), None)
    assert memory.shape == (1, STYLES + PLACES + 2, adapter.width)
    assert mask is not None
    assert mask[0].tolist() == [True, False, *[True] * (PLACES + 2)]
    assert sources is not None
    assert float(sources[0, :STYLES].abs().sum()) == float(sources[0, -1].abs().sum()) == 0.0
    assert float(sources[0, STYLES, 5:10].sum()) == pytest.approx(1.0, abs=0.01)


def test_another_style_is_another_place_and_changes_no_sound(adapter: EvidenceMemory) -> None:
    evidence = heard(sounding({RAIN: (5, 10)}))
    sounds, residues = adapter.select(evidence.strength)
    first, first_mask = adapter.embed(evidence, sounds, residues, torch.tensor([0]))
    second, second_mask = adapter.embed(evidence, sounds, residues, torch.tensor([1]))
    assert torch.equal(first, second)
    assert first_mask[0, :STYLES].tolist() == [True, False]
    assert second_mask[0, :STYLES].tolist() == [False, True]
    assert not torch.allclose(first[0, 0], first[0, 1])


@pytest.mark.parametrize("what", ["strength", "time", "duration", "voice"])
def test_memory_tells_strength_time_duration_and_voice(adapter: EvidenceMemory, what: str) -> None:
    plain = sounding({SPEECH: (2, 8)})
    plain[..., CLASSES:] = torch.tensor([0.5, 0.0, 0.5])
    other = plain.clone()
    if what == "strength":
        other[0, 2:8, SPEECH] = 0.0
    elif what == "time":
        other = other.roll(10, dims=1)
    elif what == "duration":
        other[0, 8:14, SPEECH] = -1.0
    else:
        other[..., CLASSES:] = torch.tensor([0.0, 0.5, 0.5])
    assert not torch.allclose(memory_of(adapter, plain), memory_of(adapter, other), atol=1e-3)


def test_a_sound_that_no_place_holds_shows_in_the_overview(adapter: EvidenceMemory) -> None:
    features = sounding(dict.fromkeys(range(20, 20 + PLACES), (0, 20)), logit=3.0)
    more = features.clone()
    more[0, :, RAIN] = -2.0
    sounds = [adapter.select(heard(one).strength)[0] for one in (features, more)]
    assert torch.equal(*sounds)
    assert not torch.allclose(memory_of(adapter, features)[:, -1], memory_of(adapter, more)[:, -1], atol=1e-4)


def test_a_class_has_support_where_it_or_a_relative_is_heard(adapter: EvidenceMemory) -> None:
    support = adapter.support(heard(sounding({BARK: (0, 20)})).strength)[0]
    assert float(support[BARK]) == pytest.approx(2.0 + 8.0 - STANDS_OUT, abs=0.01)
    assert float(support[DOG]) == float(support[BARK])  # as a bark explains a dog
    assert float(support[RAIN]) < 0.0
    # Faint, but far above its background of -8.
    assert float(adapter.support(heard(sounding({RAIN: (0, 20)}, logit=-3.0)).strength)[0, RAIN]) > 0.0


def test_what_stands_out_should_be_named_by_its_own_or_a_relatives_words(adapter: EvidenceMemory) -> None:
    salience = adapter(sounding({BARK: (0, 20), RAIN: (0, 12)}), None).salience[0]
    assert salience.shape == (NAMED, CLASSES)
    assert set(salience[0].nonzero().flatten().tolist()) == {BARK, DOG}
    assert set(salience[1].nonzero().flatten().tolist()) == {RAIN}
    assert float(salience[0, BARK]) == float(salience[0, DOG]) == ENOUGH
    # A residue of a nat and a half: half a nat of that is doubt.
    sounds, residues = torch.tensor([[RAIN, BARK, 400]]), torch.tensor([[1.5, DOUBT, -3.0]])
    faint = adapter.salience(sounds, residues)[0]
    assert float(faint[0, RAIN]) == 1.5 - DOUBT
    assert not faint[1:].any()


def test_what_often_comes_with_speech_does_not_support_it(adapter: EvidenceMemory) -> None:
    adapter.explains[RAIN, SPEECH] = adapter.explains[1, SPEECH] = 0.9
    assert float(adapter.support(heard(sounding({RAIN: (0, 20)})).strength)[0, SPEECH]) < 0.0
    assert float(adapter.support(heard(sounding({1: (0, 20)})).strength)[0, SPEECH]) > 0.0
    assert float(adapter.support(heard(sounding({SPEECH: (0, 20)})).strength)[0, RAIN]) < 0.0


def test_silence_gives_a_memory_of_numbers(adapter: EvidenceMemory) -> None:
    memory, _, sources, *_ = adapter(silence(), None)
    assert torch.isfinite(memory).all()
    assert torch.isfinite(sources).all()


def test_logits_beyond_the_limit_count_as_the_limit(adapter: EvidenceMemory) -> None:
    features = noise(1, 6)
    features[..., :CLASSES] *= 10.0
    cut = features.clone()
    cut[..., :CLASSES] = cut[..., :CLASSES].clamp(-LIMIT, LIMIT)
    assert torch.equal(memory_of(adapter, features), memory_of(adapter, cut))


def test_a_new_adapter_has_no_background_and_nothing_explains_another() -> None:
    adapter = EvidenceMemory(EvidenceMemory.Settings(), CLASSES + PITCHES)
    assert torch.equal(adapter.explains, torch.eye(CLASSES))
    assert bool((adapter.background == -LIMIT).all())
    assert bool((adapter.high == -LIMIT).all())
