"""What is wrong with data: recordings that are missing, cannot be decoded, or are in two places at once."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from otoscribe.audio import reading
from otoscribe.datasets.folder import Listed
from otoscribe.errors import AudioError
from otoscribe.progress import Progress

SAMPLE_RATE = 16000
"""Hz, at which recordings are compared."""


@dataclass(frozen=True)
class Part:
    """Some recordings that belong together: a split, or a table."""

    name: str
    listed: Listed
    origins: Mapping[str, str]
    """Freesound ids, by the names of the recordings that have one."""
    published: int | None = None
    """How many recordings it should list, if somebody says so."""


@dataclass(frozen=True)
class Recording:
    """One recording, for a report."""

    part: str
    name: str


@dataclass(frozen=True)
class PartReport:
    """What was found in one part."""

    name: str
    published: int | None
    recordings: int
    """That are listed."""
    captions: int
    hours: float
    """Of what could be decoded."""
    missing: tuple[str, ...]
    undecodable: Mapping[str, str]
    """Why, by name."""
    odd: Mapping[str, str]
    """What was noted of recordings that were decoded, by name."""


@dataclass(frozen=True)
class Report:
    """What was found in all parts."""

    parts: tuple[PartReport, ...]
    duplicates: tuple[tuple[Recording, ...], ...]
    """Recordings that sound the same, sample by sample."""
    overlap: Mapping[str, tuple[Recording, ...]]
    """Recordings of different parts that were cut from one sound of Freesound, by its id."""

    @property
    def clean(self) -> bool:
        """Whether there is nothing to repair."""
        counts = all(part.published in (None, part.recordings) for part in self.parts)
        whole = not any(part.missing or part.undecodable for part in self.parts)
        return counts and whole and not self.duplicates and not self.overlap


def check(parts: Sequence[Part], progress: Progress | None = None) -> Report:
    """Decode every recording and compare all with all.

    Two recordings are the same if they are, sample by sample, after they were mixed to one channel at 16 kHz:
    a FLAC made of a WAV is found, an MP3 made of it is not.

    Args:
        parts: what to look at.
        progress: called for every recording.
    """
    sounds: dict[bytes, list[Recording]] = defaultdict(list)
    reports = []
    for part in parts:
        missing, undecodable, odd, seconds = [], {}, {}, 0.0
        for done, name in enumerate(part.listed.captions, 1):
            path = part.listed.path_of(name)
            if path is None:
                missing.append(name)
            else:
                try:
                    sound, length, notes = _heard(path)
                except AudioError as error:
                    undecodable[name] = str(error)
                else:
                    sounds[sound].append(Recording(part.name, name))
                    seconds += length
                    if notes:
                        odd[name] = "; ".join(notes)
            if progress:
                progress(f"decoding {part.name}", done, len(part.listed.captions))
        captions = sum(map(len, part.listed.captions.values()))
        reports.append(
            PartReport(
                part.name,
                part.published,
                len(part.listed.captions),
                captions,
                seconds / 3600,
                tuple(missing),
                undecodable,
                odd,
            )
        )
    duplicates = tuple(tuple(same) for same in sounds.values() if len(same) > 1)
    return Report(tuple(reports), duplicates, _overlap(parts))


def _heard(path: Path) -> tuple[bytes, float, tuple[str, ...]]:
    """Return the hash of a recording's samples, how many seconds it lasts, and what is odd about it."""
    audio = reading.load(path, SAMPLE_RATE)
    return hashlib.sha256(audio.waveform.tobytes()).digest(), len(audio.waveform) / SAMPLE_RATE, audio.notes


def _overlap(parts: Iterable[Part]) -> dict[str, tuple[Recording, ...]]:
    cut: dict[str, list[Recording]] = defaultdict(list)
    for part in parts:
        for name, origin in part.origins.items():
            if name in part.listed.captions:
                cut[origin].append(Recording(part.name, name))
    return {
        origin: tuple(recordings)
        for origin, recordings in cut.items()
        if len({recording.part for recording in recordings}) > 1
    }
