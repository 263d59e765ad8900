"""Recordings made here whose content is known: instruments, voices, and two sounds at once.

Instruments are played by `fluidsynth` with a General MIDI sound font, voices spoken by `espeak-ng` (Debian's
packages fluidsynth, timgm6mb-soundfont and espeak-ng); where a program is missing, its part is empty. Two
sounds at once are recordings of ESC-10 added up at equal power.
"""

import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import soundfile

from otoscribe.audio import reading
from recipes.bundled.corpus import Sound
from recipes.bundled.naming import WORDS

SOUND_FONT = Path("/usr/share/sounds/sf2/default-GM.sf2")
RATE = 16_000
MUSIC = "music|instrument|song|tune|band|plays|playing|melody"
INSTRUMENTS = {
    0: "piano|keyboard",
    6: "harpsichord|keyboard",
    9: "glockenspiel|bell|xylophone|mallet|chime",
    11: "vibraphone|mallet|xylophone|marimba",
    13: "xylophone|marimba|mallet",
    14: "bell|chime",
    16: "organ",
    19: "organ",
    21: "accordion",
    22: "harmonica",
    24: "guitar|string",
    25: "guitar|string",
    29: "guitar",
    33: "bass|guitar",
    40: "violin|fiddle|string",
    42: "cello|string",
    46: "harp",
    47: "timpani|drum",
    56: "trumpet|horn|brass",
    57: "trombone|horn|brass",
    60: "horn|brass",
    65: "saxophone",
    71: "clarinet|wind instrument|woodwind",
    73: "flute|wind instrument|woodwind",
    104: "sitar|string",
    105: "banjo|string",
    109: "bagpipe",
    114: "steel drum|steelpan|drum",
}
"""General MIDI programs, and the stems that name each."""
MELODY = (60, 64, 67, 72, 71, 67, 64, 62, 60, 65, 69, 72, 67, 64, 62, 60)
SENTENCES = (
    "Good morning, everybody, and welcome to our meeting. Let us begin with the first question.",
    "I went to the market yesterday and bought some apples, but they were not very good.",
)
VOICES = {"m1": "man", "m2": "man", "m3": "man", "m4": "man", "f1": "woman", "f2": "woman", "f3": "woman"}
SPEECH = "speak|talk|speech|voice|convers|narrat|says"


@dataclass(frozen=True)
class Rendered:
    """A recording, and what a caption of it should hold."""

    path: Path
    wanted: tuple[str, ...]
    """Regular expressions: the wide word (music, speech, one sound), and the narrow one (the instrument, the
    speaker, the other sound)."""


def instruments(folder: Path) -> Iterator[Rendered]:
    """Play a melody on every instrument."""
    if shutil.which("fluidsynth") is None or not SOUND_FONT.is_file():
        return
    for program, words in INSTRUMENTS.items():
        midi, path = folder / f"instrument {program}.mid", folder / f"instrument {program}.wav"
        midi.write_bytes(_midi(program))
        options = ["-niq", "-g", "0.8", "-r", "44100", "-F"]
        command = ["fluidsynth", *options, str(path), str(SOUND_FONT), str(midi)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        yield Rendered(path, (f"{MUSIC}|{words}", words))


def voices(folder: Path) -> Iterator[Rendered]:
    """Say every sentence with every voice."""
    if shutil.which("espeak-ng") is None:
        return
    for (voice, who), (number, sentence) in product(VOICES.items(), enumerate(SENTENCES)):
        path = folder / f"voice {voice} {number}.wav"
        subprocess.run(["espeak-ng", "-v", f"en-us+{voice}", "-w", str(path), sentence], check=True)
        yield Rendered(path, (SPEECH, rf"\b({who}|{'male' if who == 'man' else 'female'})\b"))


def mixtures(folder: Path, sounds: Sequence[Sound]) -> Iterator[Rendered]:
    """Add up recordings of every two kinds."""
    kinds = sorted({sound.kind for sound in sounds})
    for number, (one, other) in enumerate((a, b) for a, b in product(kinds, kinds) if a < b):
        first = [sound for sound in sounds if sound.kind == one]
        second = [sound for sound in sounds if sound.kind == other]
        parts = [reading.load(chosen[number % len(chosen)].path, RATE).waveform for chosen in (first, second)]
        length = min(map(len, parts))
        mixed = sum(part[:length] / max(float(np.sqrt(np.mean(part**2))), 1e-6) for part in parts)
        path = folder / f"mixture {number}.wav"
        soundfile.write(path, 0.8 * mixed / np.abs(mixed).max(), RATE)
        yield Rendered(path, (WORDS[one], WORDS[other]))


def _midi(program: int) -> bytes:
    """Return a MIDI file that plays MELODY, two notes a second."""
    events = bytes([0, 0xC0, program])
    for note in MELODY:
        events += bytes([0, 0x90, note, 96, 0x81, 0x70, 0x80, note, 0])  # 240 ticks later
    events += bytes([0x83, 0x60, 0xFF, 0x2F, 0])
    header = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, 480)
    return header + struct.pack(">4sI", b"MTrk", len(events)) + events
