"""Pitch of voices: waveform → how much of every patch is a low voice, a high voice, or voiced at all.

Boersma, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a
sampled sound" (1993): the autocorrelation of a windowed frame, divided by that of the window, is 1 at the
period of a periodic sound. Transform and autocorrelation are a strided convolution and a product with a
matrix of cosines, as in `model.spectrogram`, so that they export to ONNX as they stand.

Every threshold is a ramp: rounding may then change a share by as little as itself, never by a whole frame.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

SAMPLE_RATE = 16000
"""Samples per second of the waveforms."""

FRAME = 1024
"""Samples under the Hann window: 64 ms, over four periods of the lowest voice."""
HOP = 320
BAND = (60.0, 1200.0)
"""Hertz that are heard; a voice's lower harmonics without hum below and friction above."""

LAGS = np.concatenate([np.arange(0.0, 40.0, 0.25), np.arange(40.0, 272.0)])
"""Periods that are tried, in samples, down to 59 Hz; the short ones finer, as a period between two tried ones
would look less periodic than its multiples."""
ABOVE = slice(52, 160)
HIGH = slice(160, 209)
BETWEEN = slice(209, 220)
LOW = slice(220, 350)
BELOW = slice(350, 392)
"""Places in LAGS of 1231 to 402 Hz (whistles, sirens), of 400 to 180 Hz, of what is between, of 160 to 70 Hz,
and of 70 to 59 Hz (hum)."""

VOICED = 0.6
"""Least autocorrelation at the period of a voice, of at most 1."""
LOUD = 0.01
"""Least energy of a voiced frame over the clip's mean: 20 dB below it."""
PREFERENCE = 0.0004
"""Autocorrelation that one sample of lag must be worth: two periods fit as well as one."""


def _ramp(value: Tensor, centre: float, width: float) -> Tensor:
    return ((value - centre) / width + 0.5).clamp(0.0, 1.0)


class VoicePitch(nn.Module):
    """Waveforms [batch, samples] at 16 kHz → shares [batch, patches, 3] of a low, a high, any voice.

    A share is that of a patch's frames, one every 20 ms, that are voiced with a fundamental of 70 to 160 Hz
    (men), of 180 to 400 Hz (women, children), of 70 to 400 Hz. It does not depend on the clip's gain.

    Args:
        step_samples: samples from one patch to the next, a multiple of 320.
        steps_per_patch: steps in one patch.
    """

    fourier: Tensor
    cosines: Tensor
    penalty: Tensor

    def __init__(self, step_samples: int, steps_per_patch: int) -> None:
        super().__init__()
        self.step_frames, rest = divmod(step_samples, HOP)
        if rest:
            raise ValueError(f"A step of {step_samples} samples is no multiple of {HOP}.")
        self.patch_frames = steps_per_patch * self.step_frames
        self.length = (self.patch_frames - 1) * HOP + FRAME
        """Samples from the beginning of a patch on that its frames see."""
        sample, hertz = np.arange(FRAME), np.arange(FRAME // 2 + 1) * SAMPLE_RATE / FRAME
        used = np.flatnonzero((hertz >= BAND[0]) & (hertz <= BAND[1]))
        hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * sample / FRAME)
        angle = 2.0 * np.pi * np.outer(used, sample) / FRAME
        fourier = np.concatenate([np.cos(angle) * hann, np.sin(angle) * hann])
        # Circular, as the transform is no longer than the frame: what wraps round to these lags are the
        # window's faint ends, under 2 % of what belongs there.
        window = (2.0 + np.cos(2.0 * np.pi * LAGS / FRAME)) / 3.0
        cosines = np.cos(2.0 * np.pi * np.outer(used, LAGS) / FRAME) / window
        # All follow from the numbers above, so they are no weights and stay out of every checkpoint.
        self.register_buffer("fourier", torch.from_numpy(fourier).float()[:, None], persistent=False)
        self.register_buffer("cosines", torch.from_numpy(cosines).float(), persistent=False)
        self.register_buffer("penalty", torch.from_numpy(PREFERENCE * LAGS).float(), persistent=False)

    def forward(self, waveforms: Tensor, patches: int) -> Tensor:
        """Return the shares (low, high, voiced) of equally long waveforms in [-1, 1], each in [0, 1].

        Args:
            waveforms: float32 [batch, samples].
            patches: how many patches the waveforms give; zeros fill up the last one.
        """
        return self.shares(self.local(waveforms, patches))

    def local(self, waveforms: Tensor, patches: int) -> Tensor:
        """Return what shares follow from and each patch knows by itself, [batch, patches, 4 F + 2].

        These are for each of its F frames whether a low, a high, any voice would be heard in it if it were
        loud enough, and its energy; then energy and samples from its beginning to that of the next patch,
        or, of the last one, to the end.
        """
        samples, step_samples = waveforms.shape[-1], self.step_frames * HOP
        steps_per_patch = self.patch_frames // self.step_frames
        # One step more than the patches have, as every frame that hears anything counts in the mean energy.
        steps = patches + steps_per_patch
        padded = F.pad(waveforms, (0, (steps * self.step_frames - 1) * HOP + FRAME - samples))
        cosine, sine = F.conv1d(padded[:, None], self.fourier, stride=HOP).chunk(2, dim=1)
        power = (cosine * cosine + sine * sine).transpose(1, 2)
        energy = power.sum(dim=2)
        # A tone of amplitude 1e-7 has the least energy that is told from none.
        autocorrelation = (power @ self.cosines) / energy.clamp_min(1e-9)[..., None]
        frames = torch.cat([self._voices(autocorrelation), energy[..., None]], dim=-1)
        by_step = frames.reshape(waveforms.shape[0], steps, self.step_frames * 4)
        own = [by_step[:, i : i + patches] for i in range(steps_per_patch)]
        energies = energy.reshape(waveforms.shape[0], steps, self.step_frames).sum(dim=2)
        last = energies[:, patches - 1 :].sum(dim=1, keepdim=True)
        total = torch.cat([energies[:, : patches - 1], last], dim=1)
        lasting = torch.full_like(total, step_samples)
        lasting = torch.cat(
            [lasting[:, 1:], torch.full_like(last, samples - (patches - 1) * step_samples)], dim=1
        )
        return torch.cat([*own, total[..., None], lasting[..., None]], dim=-1)

    def shares(self, local: Tensor) -> Tensor:
        """Return the shares of whole clips, [batch, patches, 3], of what `local` gives."""
        frames, (total, lasting) = local[..., :-2], local[..., -2:].unbind(dim=-1)
        mean_energy = total.sum(dim=1, keepdim=True) * HOP / lasting.sum(dim=1, keepdim=True)
        frames = frames.reshape(*total.shape, self.patch_frames, 4)
        energy = frames[..., 3] / mean_energy.clamp_min(1e-9)[..., None]
        return (frames[..., :3] * _ramp(energy, LOUD, LOUD)[..., None]).mean(dim=2)

    def _voices(self, autocorrelation: Tensor) -> Tensor:
        """Judge every frame by its autocorrelation [..., lags]: low, high, voiced, [..., 3]."""
        voiced = _ramp(autocorrelation[..., HIGH.start : LOW.stop].amax(dim=-1), VOICED, 0.1)
        scores = autocorrelation - self.penalty
        high, between, low, below = (scores[..., lags].amax(dim=-1) for lags in (HIGH, BETWEEN, LOW, BELOW))
        # At a short lag everything deep is alike; a period stands out by rising from a valley before it.
        valley = -F.max_pool1d(-autocorrelation[..., : ABOVE.stop], kernel_size=ABOVE.start + 1, stride=1)
        above = (scores[..., ABOVE] - valley.relu()).amax(dim=-1)

        def wins(score: Tensor, *others: Tensor) -> Tensor:
            # Of two periods that fit as well, the preference parts one from the other by over half the ramp.
            return _ramp(score - torch.stack(others).amax(dim=0), 0.0, 0.01)

        voice = voiced * wins(torch.stack([high, between, low]).amax(dim=0), above, below)
        return torch.stack(
            [voice * wins(low, high, between), voice * wins(high, between, low), voice], dim=-1
        )
