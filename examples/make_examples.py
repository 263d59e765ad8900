"""Make the example recordings: sounds that a listener recognises, computed from nothing but a seed.

    python examples/make_examples.py

writes 16 kHz mono FLAC files beside itself. Speech comes from espeak-ng; without it
that file is left as it is.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
FOLDER = Path(__file__).resolve().parent

Sound = NDArray[np.float64]


def clock_of(seconds: float) -> Sound:
    """Return the time of each sample in seconds."""
    return np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE


def shaped_noise(random: np.random.Generator, samples: int, response: Callable[[Sound], Sound]) -> Sound:
    """Return Gaussian noise of unit variance whose spectrum follows `response` (gain over Hz)."""
    spectrum = np.fft.rfft(random.standard_normal(samples))
    noise = np.fft.irfft(spectrum * response(np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)), samples)
    return noise / noise.std()


def band(low: float, high: float) -> Callable[[Sound], Sound]:
    """Return a smooth band pass from `low` to `high` Hz, 12 dB per octave outside."""
    return lambda hz: 1 / (1 + (low / np.maximum(hz, 1)) ** 2) / (1 + (hz / high) ** 2)


def place(sound: Sound, piece: Sound, at: float) -> None:
    """Add `piece` to `sound` in place, from `at` seconds on."""
    start = round(at * SAMPLE_RATE)
    stop = min(len(sound), start + len(piece))
    sound[start:stop] += piece[: stop - start]


def rain(random: np.random.Generator) -> Sound:
    """Steady rain: a hiss of far drops, and near ones as short bursts of their own pitch."""
    sound = 0.6 * shaped_noise(random, 8 * SAMPLE_RATE, band(400, 5000))
    for at in np.sort(random.uniform(0, 8, 2400)):
        time = clock_of(0.02)
        pitch, loudness = random.uniform(1500, 7000), random.exponential(0.35)
        drop = np.exp(-time * random.uniform(250, 900)) * random.standard_normal(time.size)
        place(sound, loudness * (drop + 0.5 * np.exp(-time * 300) * np.sin(2 * np.pi * pitch * time)), at)
    return sound


def thunder(random: np.random.Generator) -> Sound:
    """Two claps of thunder that crack and roll away, over distant rain."""
    sound = 0.025 * shaped_noise(random, 10 * SAMPLE_RATE, band(500, 4000))
    for at, strength in ((0.8, 1.0), (5.6, 0.7)):
        time = clock_of(4.4)
        low = shaped_noise(random, time.size, band(35, 130))
        crack = shaped_noise(random, time.size, band(150, 1200))
        rolls = sum(
            random.uniform(0.4, 1) * np.exp(-(((time - middle) / random.uniform(0.15, 0.4)) ** 2))
            for middle in np.cumsum(random.uniform(0.25, 0.6, 8))
        )
        onset = 1 - np.exp(-time * 60)
        clap = onset * (
            low * (np.exp(-time * 0.8) + 0.7 * rolls * np.exp(-time * 0.5))
            + 0.6 * crack * (np.exp(-time * 6) + 0.25 * rolls * np.exp(-time * 1.2))
        )
        place(sound, strength * clap, at)
    return sound


def siren(random: np.random.Generator) -> Sound:
    """A wailing emergency siren that sweeps up and down, with the echo of a street."""
    time = clock_of(8)
    sweep = 0.5 - 0.5 * np.cos(2 * np.pi * time / 3.2)
    phase = 2 * np.pi * np.cumsum(650 + 850 * sweep) / SAMPLE_RATE
    horn = np.tanh(1.8 * np.sin(phase)) + 0.25 * np.sin(2 * phase) + 0.12 * np.sin(3 * phase)
    sound = horn * (0.6 + 0.4 * time / 8)
    for delay, gain in ((0.11, 0.35), (0.19, 0.25), (0.33, 0.15)):
        place(sound, gain * horn, delay)
    return sound + 0.12 * shaped_noise(random, time.size, band(40, 400))


def clock(random: np.random.Generator) -> Sound:
    """An alarm clock: five beats a second, tick louder than tock, each two clicks that ring in its case."""
    sound = 0.02 * shaped_noise(random, 6 * SAMPLE_RATE, band(100, 3000))
    for beat in range(29):
        time = clock_of(0.06)
        pitch, loudness = ((3000, 1.0), (2550, 0.75))[beat % 2]
        click = shaped_noise(random, time.size, band(2500, 7000)) * np.exp(-time * 350)
        ring = sum(
            gain * np.sin(2 * np.pi * pitch * ratio * time) * np.exp(-time * decay)
            for ratio, gain, decay in ((1, 0.5, 300), (1.71, 0.4, 420), (2.46, 0.3, 540))
        )
        second = np.zeros_like(click)
        place(second, 0.5 * click, 0.012)
        place(sound, loudness * (click + 0.8 * ring + second), 0.1 + beat * 0.2 + random.normal(0, 0.001))
    return sound


def helicopter(random: np.random.Generator) -> Sound:
    """A helicopter: 18 blades a second slap the air and shake the body, over the rush of the turbine."""
    time = clock_of(8)
    wander = shaped_noise(random, time.size, band(0.3, 3))
    blade, part = np.divmod(np.cumsum(18 * (1 + 0.02 * wander)) / SAMPLE_RATE, 1)
    strength = random.uniform(0.9, 1.1, 200)[blade.astype(int)]
    slap = strength * np.exp(-part * 4) * (1 - np.exp(-part * 40))
    hz = np.fft.rfftfreq(time.size, 1 / SAMPLE_RATE)
    resonances = ((90, 40, 1), (180, 80, 0.7), (420, 200, 0.35), (1100, 600, 0.12))
    body = sum(gain / (1 + ((hz - at) / width) ** 2) for at, width, gain in resonances)
    tone = np.fft.irfft(np.fft.rfft(slap - slap.mean()) * body, time.size)
    rush = shaped_noise(random, time.size, band(300, 2500)) * (0.3 + 0.7 * slap / slap.max())
    return tone / tone.std() + 0.15 * rush + 0.3 * shaped_noise(random, time.size, band(60, 900))


def birds(random: np.random.Generator) -> Sound:
    """Songbirds: three singers, each with its own phrase of whistled sweeps and trills, and their echo."""
    sound = 0.004 * shaped_noise(random, 8 * SAMPLE_RATE, band(200, 4000))
    for pitch, loudness, every in ((4200, 1.0, 1.5), (5400, 0.55, 1.1), (3300, 0.4, 2.1)):
        at = random.uniform(0.1, 0.8)
        while at < 7.4:
            start = at
            for _ in range(random.integers(3, 9)):
                time = clock_of(random.uniform(0.05, 0.13))
                share = time / time[-1]
                bend = random.uniform(-0.25, 0.25) * share + 0.04 * np.sin(
                    2 * np.pi * random.uniform(25, 45) * time
                )
                phase = 2 * np.pi * np.cumsum(pitch * random.uniform(0.85, 1.15) * (1 + bend)) / SAMPLE_RATE
                note = np.sin(np.pi * share) ** 1.5 * (np.sin(phase) + 0.08 * np.sin(2 * phase))
                place(sound, loudness * note, start)
                place(sound, 0.12 * loudness * note, start + 0.09)
                start += time[-1] + random.uniform(0.02, 0.07)
            at = start + every * random.uniform(0.4, 1.0)
    return sound


def speech() -> Sound | None:
    """A sentence spoken by espeak-ng, or None where it is not installed."""
    program = shutil.which("espeak-ng")
    if program is None:
        return None
    text = (
        "Good evening. The train to the coast leaves from platform four in ten minutes. Please mind the gap."
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        subprocess.run([program, "-v", "en-gb", "-s", "150", "-w", str(path), text], check=True)
        sound, sample_rate = soundfile.read(path)
    wanted = np.arange(0, len(sound) / sample_rate, 1 / SAMPLE_RATE)
    # espeak-ng speaks at 22,050 Hz; what 16 kHz cannot hold is cut before it is sampled anew.
    spectrum = np.fft.rfft(sound)
    spectrum[np.fft.rfftfreq(len(sound), 1 / sample_rate) > 0.48 * SAMPLE_RATE] = 0
    return np.interp(wanted, np.arange(len(sound)) / sample_rate, np.fft.irfft(spectrum, len(sound)))


def save(name: str, sound: Sound) -> None:
    """Write a sound at a peak of 0.7, faded in and out over 20 ms."""
    fade = np.minimum(1, clock_of(len(sound) / SAMPLE_RATE) / 0.02)
    sound = sound * fade * fade[::-1]
    soundfile.write(FOLDER / f"{name}.flac", 0.7 * sound / np.abs(sound).max(), SAMPLE_RATE, subtype="PCM_16")


def main() -> None:
    """Write every example."""
    makers = (rain, thunder, siren, clock, helicopter, birds)
    for seed, make in enumerate(makers, 20211):
        save(make.__name__, make(np.random.default_rng(seed)))
    spoken = speech()
    if spoken is not None:
        save("speech", spoken)


if __name__ == "__main__":
    main()
