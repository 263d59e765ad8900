"""Every registered encoder passes these; a new file in model/encoders is tested without a change here."""

from pathlib import Path

import pytest
import torch

from otoscribe.errors import UsageError, WeightsError
from otoscribe.model.encoders.base import ENCODERS, Encoder

SECONDS = (0.1, 1.0, 2.6)


@pytest.fixture(scope="module", params=list(ENCODERS))
def kind(request: pytest.FixtureRequest) -> type[Encoder]:
    return ENCODERS[request.param]


@pytest.fixture(scope="module", params=[0.0, 0.5])
def encoder(kind: type[Encoder], request: pytest.FixtureRequest) -> Encoder:
    torch.manual_seed(0)
    return kind(request.param)


def waveforms(encoder: Encoder, seconds: float, clips: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(int(1000 * seconds))
    return torch.rand(clips, int(seconds * encoder.spec.front_end.sample_rate), generator=generator) - 0.5


def test_the_spec_states_where_it_comes_from(kind: type[Encoder]) -> None:
    spec = kind.spec
    assert ENCODERS[spec.name] is kind
    assert spec.paper
    assert spec.licence
    assert spec.weights_url.startswith("https://")
    assert len(bytes.fromhex(spec.weights_sha256)) == 32
    assert spec.weights_bytes > 0


@pytest.mark.parametrize("seconds", SECONDS)
def test_outputs_are_what_spec_and_frames_promise(encoder: Encoder, seconds: float) -> None:
    clips = waveforms(encoder, seconds, clips=2)
    found = encoder(clips)
    assert {name: value.shape[2] for name, value in found.items()} == encoder.spec.outputs
    for value in found.values():
        assert value.dtype == torch.float32
        assert value.shape[:2] == (2, encoder.frames(clips.shape[1]))
        assert value.isfinite().all()
    if "scores" in found:
        assert ((found["scores"] >= 0) & (found["scores"] <= 1)).all()


def test_a_batch_gives_what_each_clip_alone_gives(encoder: Encoder) -> None:
    clips = waveforms(encoder, 2.6, clips=3)
    together = encoder(clips)
    for row in range(3):
        for name, value in encoder(clips[row : row + 1]).items():
            torch.testing.assert_close(together[name][row], value[0], rtol=1e-4, atol=1e-5)


def test_clips_in_a_batch_differ(encoder: Encoder) -> None:
    for value in encoder(waveforms(encoder, 1.0, clips=2)).values():
        assert not torch.equal(value[0], value[1])


def test_overlap_doubles_the_rate(kind: type[Encoder]) -> None:
    spec = kind.spec
    assert spec.hop_seconds(0.5) == spec.hop_seconds(0.0) / 2
    for overlap in (0.0, 0.5):
        encoder, rate = kind(overlap), spec.front_end.sample_rate
        more = encoder.frames(101 * rate) - encoder.frames(rate)
        assert abs(more - 100 / spec.hop_seconds(overlap)) <= 1


def test_overlapping_embeddings_hold_every_plain_one(kind: type[Encoder]) -> None:
    torch.manual_seed(0)
    plain, overlapping = kind(0.0), kind(0.5)
    overlapping.load_state_dict(plain.state_dict())
    clip = waveforms(plain, 2.9)
    few, many = plain(clip), overlapping(clip)
    whole = (clip.shape[1] - plain.spec.front_end.patch_samples) // plain.patches.step_samples + 1
    assert whole >= 2
    for name, value in few.items():
        torch.testing.assert_close(many[name][:, ::2][:, :whole], value[:, :whole], rtol=1e-4, atol=1e-5)


def test_it_is_frozen(encoder: Encoder) -> None:
    assert not encoder.training
    assert not any(weight.requires_grad for weight in encoder.parameters())
    assert not any(value.requires_grad for value in encoder(waveforms(encoder, 0.1)).values())


def test_only_weights_are_in_the_state(encoder: Encoder) -> None:
    assert set(encoder.state_dict()) == {name for name, _ in encoder.named_parameters()}


def test_an_impossible_overlap_is_refused(kind: type[Encoder]) -> None:
    with pytest.raises(UsageError, match=r"0\.0 or 0\.5, not 0\.75"):
        kind(0.75)


@pytest.mark.parametrize("content", [None, b"", b"no weights at all", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_a_file_of_no_weights_is_refused_in_a_sentence(
    kind: type[Encoder], tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "weights"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"weights.*\.$"):
        kind.load(path)
