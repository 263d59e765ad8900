"""Every encoder of the package passes these; a new file in model/encoders is tested without a change here."""

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from otoscribe.errors import WeightsError
from otoscribe.model.encoders.base import (
    ENCODERS,
    FORMULA,
    Encoder,
    described,
    load_encoder,
    weights_folder,
    weights_of,
)
from otoscribe.model.weights.formula import formula_state
from support.encoders import random_encoder, settings_of

SECONDS = (0.1, 1.0, 2.6)


@pytest.fixture(scope="module", params=[0.0, 0.5])
def encoder(name: str, request: pytest.FixtureRequest) -> Encoder:
    return random_encoder(name, request.param)


@pytest.fixture
def published(name: str) -> list[str]:
    """Return the names of an encoder's files, as it first looks for them, or skip where it needs none."""
    entry = ENCODERS[name].spec.files[0]
    if not entry:
        pytest.skip(f"The encoder {name} has no published weights.")
    return [file.name for file in entry]


def put(folder: Path, names: list[str]) -> None:
    """Write other files under the names of published ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"another")


def waveforms(encoder: Encoder, seconds: float, clips: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(int(1000 * seconds))
    return torch.rand(clips, int(seconds * encoder.spec.sample_rate), generator=generator) - 0.5


def test_the_spec_states_where_it_comes_from(name: str) -> None:
    spec = ENCODERS[name].spec
    assert spec.name == name
    assert "not stated" not in (spec.paper, spec.licence)
    assert spec.files
    for entry in spec.files:
        for file in entry:
            assert file.bytes is None or file.bytes > 0
            assert all(url.startswith("https://") for url in file.urls)


@pytest.mark.parametrize("seconds", SECONDS)
def test_outputs_are_what_spec_and_times_promise(encoder: Encoder, seconds: float) -> None:
    clips = waveforms(encoder, seconds, clips=2)
    found = encoder(clips)
    assert {name: value.shape[2] for name, value in found.items()} == encoder.spec.outputs
    for value in found.values():
        assert value.dtype == torch.float32
        assert value.shape[:2] == (2, len(encoder.times(clips.shape[1])))
        assert value.isfinite().all()
    if "scores" in found:
        assert ((found["scores"] >= 0) & (found["scores"] <= 1)).all()
    assert torch.equal(encoder.features(clips), found[encoder.settings.output])


def test_a_batch_gives_what_each_clip_alone_gives(encoder: Encoder) -> None:
    clips = waveforms(encoder, 2.6, clips=2)
    together = encoder(clips)
    for row in range(2):
        for name, value in encoder(clips[row : row + 1]).items():
            torch.testing.assert_close(together[name][row], value[0], rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="There is no CUDA device.")
def test_a_gpu_gives_what_the_processor_gives(encoder: Encoder) -> None:
    clips = waveforms(encoder, 2.6, clips=3)
    expected = encoder(clips)
    try:
        found = encoder.to("cuda")(clips.to("cuda"))
    finally:
        encoder.to("cpu")
    for name, value in expected.items():
        # Convolutions round to 10 bits there, unless told not to.
        scale = float(value.abs().max())
        torch.testing.assert_close(found[name].cpu(), value, rtol=0, atol=1e-2 * scale)


def test_clips_in_a_batch_differ(encoder: Encoder) -> None:
    for value in encoder(waveforms(encoder, 1.0, clips=2)).values():
        assert not torch.equal(value[0], value[1])


def test_times_are_those_of_the_sound_that_each_embedding_hears(encoder: Encoder) -> None:
    """A click moves the embeddings whose times hold it, and no others."""
    encoder = load_encoder(encoder.settings.model_copy(update={"weights": FORMULA}))
    rate = encoder.spec.sample_rate
    silence = 1e-3 * waveforms(encoder, 5.0)
    times = encoder.times(silence.shape[1])
    assert times[0][0] <= 0.0
    # What is left out at the end, if anything, is less than what another embedding would add.
    assert silence.shape[1] / rate - times[-1][1] < times[1][0] - times[0][0]
    assert all(end > start for start, end in times)
    before = encoder(silence)
    for second in (0.3, 2.2, 4.7):
        click = silence.clone()
        click[0, int(second * rate) : int(second * rate) + 8] += 0.5
        for output, value in encoder(click).items():
            moved = (value[0] - before[output][0]).abs().amax(dim=1) > 1e-6 * value.abs().max()
            holding = [start <= second < end for start, end in times]
            assert moved.tolist() == holding or output == "hearing"


def test_overlap_halves_the_step(name: str) -> None:
    plain, overlapping = random_encoder(name, 0.0), random_encoder(name, 0.5)
    samples = 20 * plain.spec.sample_rate
    (first, _), (second, _), *_ = plain.times(samples)
    (_, _), (half, _), *_ = overlapping.times(samples)
    assert half - first == pytest.approx((second - first) / 2)


def test_overlapping_embeddings_hold_every_plain_one(name: str) -> None:
    plain, overlapping = random_encoder(name, 0.0), random_encoder(name, 0.5)
    clip = waveforms(plain, 5.9)
    few, many = plain(clip), overlapping(clip)
    whole = sum(end <= clip.shape[1] / plain.spec.sample_rate for _, end in plain.times(clip.shape[1]))
    assert whole >= 2
    for name, value in few.items():
        torch.testing.assert_close(many[name][:, ::2][:, :whole], value[:, :whole], rtol=1e-4, atol=1e-5)


def test_a_loaded_encoder_is_frozen(name: str) -> None:
    encoder = load_encoder(settings_of(name, weights=FORMULA))
    assert not encoder.training
    assert not any(weight.requires_grad for weight in encoder.parameters())
    assert not any(value.requires_grad for value in encoder(waveforms(encoder, 0.1)).values())


def test_gradients_reach_every_weight_of_a_tuned_encoder(name: str) -> None:
    encoder = load_encoder(settings_of(name, weights=FORMULA, tuned=True))
    assert not encoder.training
    assert all(weight.requires_grad for weight in encoder.parameters())
    found = encoder(waveforms(encoder, 2.6))
    # As far as the output that is trained on depends on it: a classifier's weights move nothing else.
    sum(value.sin().sum() for value in found.values()).backward()
    for weight_name, weight in encoder.named_parameters():
        assert weight.grad is not None, weight_name
        assert weight.grad.isfinite().all(), weight_name
        assert weight.grad.any(), weight_name


def test_formula_weights_are_the_same_for_everybody(name: str) -> None:
    settings = settings_of(name, weights=FORMULA)
    torch.manual_seed(1)
    first = load_encoder(settings)
    torch.manual_seed(2)
    again = random_encoder(name)  # also of the random numbers that fill it at first
    again.load_state_dict(formula_state(again))
    assert weights_of(again) == weights_of(first)
    assert all(value.isfinite().all() for value in first(waveforms(first, 1.0)).values())


def test_weights_are_known_by_their_values(name: str) -> None:
    encoder, other = random_encoder(name), random_encoder(name, 0.5)
    assert weights_of(encoder) == weights_of(other)
    next(other.parameters()).view(-1)[-1] += 1e-3
    assert weights_of(encoder) != weights_of(other)


def test_what_decides_the_outputs_is_described(name: str) -> None:
    plain, overlapping = described(random_encoder(name)), described(random_encoder(name, 0.5))
    other = described(random_encoder(name, seed=1))
    assert plain["name"] == name
    assert plain["version"] == ENCODERS[name].spec.version
    assert [key for key in plain if plain[key] != overlapping[key]] == ["overlap"]
    assert [key for key in plain if plain[key] != other[key]] == ["weights"]


def test_only_weights_are_in_the_state(encoder: Encoder) -> None:
    assert set(encoder.state_dict()) == {name for name, _ in encoder.named_parameters()}


def test_an_impossible_overlap_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=r"overlap is 0\.0 or 0\.5, not 0\.75"):
        settings_of(name, overlap=0.75)


@pytest.mark.parametrize("weights", ["sha256:12", "md5:" + 32 * "0", ""])
def test_weights_are_named_by_hash_or_formula(name: str, weights: str) -> None:
    with pytest.raises(ValidationError, match="weights"):
        settings_of(name, weights=weights)


def test_absent_weights_say_what_to_type(name: str, published: list[str], tmp_path: Path) -> None:
    settings = settings_of(name)
    for folder in (None, tmp_path):
        with pytest.raises(
            WeightsError, match=rf"Type: otoscribe get {name}, or name a folder.*{published[0]}"
        ):
            load_encoder(settings, folder)


def test_a_damaged_download_is_refused(name: str, published: list[str]) -> None:
    (file, *_) = ENCODERS[name].spec.files[0]
    # Of the published size, it can be nothing but the published file; of another size, what somebody made.
    folder = weights_folder(name)
    put(folder, published)
    with pytest.raises(WeightsError, match="is damaged: its checksum is not"):
        load_encoder(settings_of(name))
    if file.bytes:
        with (folder / file.name).open("r+b") as grown:
            grown.truncate(file.bytes)
        with pytest.raises(WeightsError, match="is damaged: its checksum is not"):
            load_encoder(settings_of(name), folder)
    put(folder, published)
    with pytest.raises(WeightsError, match=rf"{file.name} .*\.$"):
        load_encoder(settings_of(name), folder)


def test_other_weights_than_the_settings_name_are_refused(
    name: str, published: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    put(tmp_path, published)
    found = random_encoder(name)
    monkeypatch.setattr(ENCODERS[name], "state_of", lambda self, files: found.state_dict())
    settings = settings_of(name)
    right = settings.model_copy(update={"weights": weights_of(found)})
    assert weights_of(load_encoder(right, tmp_path)) == weights_of(load_encoder(settings, tmp_path))
    wrong = settings.model_copy(update={"weights": f"sha256:{64 * '0'}"})
    with pytest.raises(WeightsError, match="are not those that the settings name"):
        load_encoder(wrong, tmp_path)
    monkeypatch.setattr(ENCODERS[name], "state_of", lambda self, files: {"one": torch.zeros(1)})
    with pytest.raises(WeightsError, match="are of another network"):
        load_encoder(settings, tmp_path)
