"""Arrays of many kinds."""

import numpy as np
import pytest

from otoscribe.audio.waveform import samples_of
from otoscribe.errors import AudioError

WAVE = np.sin(np.arange(8000) / 3) * 0.5


@pytest.mark.parametrize(
    "dtype",
    [
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64", "longdouble", ">i2", ">f4"),
    ],
)
@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_numbers_of_any_type(dtype: str, bits: int) -> None:
    kind, samples = np.dtype(dtype), WAVE
    if kind.kind in "iu":
        if kind.itemsize < 8:
            bits = 8 * kind.itemsize
        half = 2.0 ** (max(bits, 16 if kind.itemsize == 8 else 8) - 1)
        samples = np.round(WAVE * half) + (half if kind.kind == "u" else 0)
    array = samples.astype(kind)
    for shaped in (array, array[:, None], np.repeat(array, 2)[::2]):
        found = samples_of(shaped)
        assert found.dtype == np.float32
        assert found.shape == (8000, 1)
        np.testing.assert_allclose(found[:, 0], WAVE, atol=1 / 128 if kind.itemsize == 1 else 1e-3)


def test_lists_of_integers_have_16_bits_unless_they_need_more() -> None:
    np.testing.assert_array_equal(samples_of([0, 16384, -32768])[:, 0], [0, 0.5, -1])
    np.testing.assert_array_equal(samples_of([0, 1 << 22, -(1 << 23)])[:, 0], [0, 0.5, -1])


def test_channels_come_last() -> None:
    assert samples_of(np.zeros((8000, 2))).shape == (8000, 2)
    with pytest.raises(AudioError, match=r"turn it round: waveform.T"):
        samples_of(np.zeros((2, 8000)))


def test_tensors() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(WAVE)
    for tried, tolerance in (
        (tensor.float().requires_grad_(), 1e-6),
        (tensor, 1e-6),
        (tensor.bfloat16(), 2e-3),
        (tensor.half(), 1e-3),
        ((tensor * 32768).to(torch.int16), 1e-4),
        (torch.stack([tensor, tensor], dim=1), 1e-6),
    ):
        for channel in samples_of(tried).T:
            np.testing.assert_allclose(channel, WAVE, atol=tolerance)
    for wrong in (tensor > 0, tensor.to(torch.complex64), tensor.to_sparse()):
        with pytest.raises(AudioError):
            samples_of(wrong)


def test_the_bfloat16_of_other_libraries() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    np.testing.assert_allclose(samples_of(WAVE.astype(ml_dtypes.bfloat16))[:, 0], WAVE, atol=2e-3)
