"""Every encoder gives in pieces what it gives in one pass; a new file is tested without a change here."""

from collections.abc import Iterator

import pytest
import torch

from otoscribe.audio.pieces import pieces
from otoscribe.model.encoders.base import FORMULA, Encoder, load_encoder
from support.encoders import settings_of

CHOSEN = {"yamnet_voice": "hearing"}
"""Outputs that take more than the others to be made of pieces."""


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("otoscribe.audio.pieces.PIECE_SECONDS", 3.0)
        yield


@pytest.fixture(scope="module", params=[0.0, 0.5])
def encoder(name: str, request: pytest.FixtureRequest) -> Encoder:
    chosen = {"output": CHOSEN[name]} if name in CHOSEN else {}
    return load_encoder(settings_of(name, overlap=request.param, weights=FORMULA, **chosen))


@pytest.mark.parametrize(("cuts", "beyond"), [(1, -1), (1, 0), (2, 777)])
def test_pieces_give_the_frames_of_one_pass(encoder: Encoder, cuts: int, beyond: int) -> None:
    """Around the lengths from which a recording has one piece more."""
    field, rate = encoder.receptive_field, encoder.spec.sample_rate
    assert field is not None
    samples = (cuts * field.frames(rate) + field.after) * field.hop + beyond
    generator = torch.Generator().manual_seed(samples)
    waveform = 0.4 * torch.rand(samples, generator=generator) - 0.2
    # Louder and softer, so that frames of one piece judge others if they see them.
    waveform *= torch.linspace(0.05, 1.0, samples)
    cut = list(pieces(iter(waveform.numpy()[:, None].copy()[None]), field, rate))
    assert len(cut) == cuts + (beyond >= 0)
    found = encoder.finish(
        torch.cat(
            [
                encoder.local_features(torch.from_numpy(piece.samples.T.copy()))[:, piece.kept]
                for piece in cut
            ],
            dim=1,
        )
    )
    expected = encoder.features(waveform[None])
    assert found.shape == expected.shape == (1, len(encoder.times(samples)), expected.shape[2])
    # Up to rounding, as products of other sizes add in another order.
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
