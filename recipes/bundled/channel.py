"""What the encoder would show of a clip whose labels are known: training data for which there is no sound.

There are nearly fifty thousand clips with labels and captions, and none of their audio; and of most classes
there is neither. So evidence is simulated as it was measured on real recordings (`measure`): labels that
hold have strengths like theirs, classes that are like them are raised with them, all others show their
usual background with its correlations and its heavy tail.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from otoscribe.model.adapters.evidence import CLASSES, LIMIT, SPEECH, UNCERTAIN_FRAMES, USUAL, Evidence
from recipes.bundled.examples import EARLIER, FEMALE_VOICE, LATER, MALE_VOICE
from recipes.bundled.measure import Measured
from recipes.bundled.scene import Scene

MOST = 8
"""The most labels of a scene."""
SILENCE = 494
"""Index of the class "Silence"."""
FRAMES = 20
"""Frames of the usual clip of 10 s."""
OF_CLIP, OF_KIND = 0.3, 0.5
"""Shares of the variance of labels' strengths: what all labels of a clip have in common, as loud clips have
all of them strong; and what a label shares with the classes like it."""
STANDS_OUT = 1.5
"""Nats, at most, by which a class that people mention stands above what it often shows anyway."""
LEAST, MORE = 1.5, 1.5
"""Nats by which any label stands above its background: at least LEAST, and up to MORE on top."""
CEILING = 3.0
"""Strength that scores end at: no class is surer than that for all of a clip."""
OWN = 0.3
"""Share of the background noise that no two classes have in common."""
UNEVEN = 0.3
"""Spread of the logarithm of a clip's amount of noise: some clips are full of other things."""
NOISE = 0.8
"""Nats of noise of a class whose usual strength varies by 1."""
MISTAKES, MISTAKEN = 2, 0.4
"""Sounds, at most, that the encoder hears and nobody else does, and the chance of each."""
MISTAKEN_MEAN, MISTAKEN_SPREAD = 0.2, 0.8
"""Residue, as the adapter counts it, of such a sound."""
RAISED_NOISE, RAISED_FULLY = 1.25, 1.2
"""Nats of noise more in a class that a label raises, and how far it must be raised to have all of that."""
STRENGTHS = (-8.0, -5.0, -3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 3.0)
DURATIONS = (0.28, 0.30, 0.33, 0.36, 0.41, 0.58, 0.76, 0.90, 0.96)
DURATIONS_SPREAD = (0.15, 0.16, 0.20, 0.22, 0.23, 0.18, 0.16, 0.07, 0.03)
"""Mean and spread of the duration of what has a strength: what is sure in all of a clip is long."""
LONGEST_ORDERED, STRONGEST_ORDERED = 0.6, 0.6
"""Duration and strength, at most, of a sound that comes before or after another one."""
MALE_SHARE = 0.66
"""Share of male voices among the voices that captions name."""


class Channel:
    """Draws the evidence of scenes.

    Args:
        measured: on real recordings.
    """

    def __init__(self, measured: Measured) -> None:
        self.background, self.high = measured.background, measured.high
        self.alike = measured.alike
        values, vectors = np.linalg.eigh(measured.correlation.double().numpy())
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        self.root = torch.from_numpy(root.T.astype(np.float32).copy())
        # A class that often fires by chance does so here too.
        self.varies = (0.7 + 0.35 * (self.high - self.background)).clamp(0.9, 1.6)
        often = (self.high + LIMIT).clamp(min=0.0)
        self.often = 0.5 * often / often.sum()
        self.spoken, self.unspoken = measured.spoken, measured.unspoken

    @torch.no_grad()
    def __call__(self, scenes: Sequence[Scene], seed: int) -> Evidence:
        """Return what is heard of some scenes; `seed` decides every draw."""
        draw = _Draw(seed, len(scenes), self.root)
        labels, there, spoken, when, told = _laid_out(scenes)
        strength = self._of_labels(labels, spoken, draw)
        strength = torch.where(told.isnan(), strength, told)
        strength = torch.where(when > 0, strength.clamp(max=STRONGEST_ORDERED), strength)
        least = self.background[labels] + LEAST + MORE * draw.uniform(MOST)
        strength = torch.maximum(strength, least)
        # Columns that fill up name the first label once more, and so say the same of it.
        strength = torch.where(there, strength, strength[:, :1])
        mistaken, level = self._mistakes(labels, there, draw)
        labels, strength = torch.cat([labels, mistaken], 1), torch.cat([strength, level], 1)
        there = torch.cat([there, level > -LIMIT], 1)
        when = torch.cat([when, torch.zeros_like(mistaken)], 1)
        elevation = (strength - self.background[labels]).clamp(min=0.0) * there
        raised, by = (self.alike[labels] * elevation[..., None]).max(dim=1)  # both [scenes, 521]
        everything = self.background + raised + self._noise(raised, draw)
        if MISTAKES:
            everything = everything.scatter_reduce(1, mistaken, level, "amax")
        held = torch.where(there[:, :1], strength[:, :MOST], everything.gather(1, labels[:, :MOST]))
        everything = _saturated(everything.scatter(1, labels[:, :MOST], held))
        centre, duration = _times(everything, when, raised, by, draw)
        everything, duration = self._silence(scenes, everything, duration, draw)
        # As the adapter measures it: a faint sound's centre is drawn to the middle.
        frames = FRAMES * everything.sigmoid() * duration.sqrt()
        centre = 0.5 + (centre - 0.5) * frames / (frames + UNCERTAIN_FRAMES)
        voices = _voices(scenes, everything[:, SPEECH], draw)
        return Evidence(everything, centre, duration, voices)

    def _of_labels(self, labels: Tensor, spoken: Tensor, draw: "_Draw") -> Tensor:
        """Draw the strengths of labels: what is mentioned is what is loud, and it stands out."""
        spread = (
            OF_CLIP**0.5 * draw.normal(1)
            + OF_KIND**0.5 * draw.correlated().gather(1, labels)
            + (1.0 - OF_CLIP - OF_KIND) ** 0.5 * draw.normal(MOST)
        )
        loud = self.spoken[0] + self.spoken[1] * spread
        loud = torch.maximum(loud, self.high[labels] + STANDS_OUT * draw.uniform(MOST))
        return torch.where(spoken, loud, self.unspoken[0] + self.unspoken[1] * spread)

    def _mistakes(self, labels: Tensor, there: Tensor, draw: "_Draw") -> tuple[Tensor, Tensor]:
        """Draw sounds that are not there: classes like a label, or any that is often heard by chance.

        Returns:
            The classes, and their strengths, -LIMIT where there is none, both [scenes, MISTAKES].
        """
        like = (self.alike[labels] * there[..., None]).amax(1)
        chance = like * (1.0 - like) / 20.0 + self.often
        mistaken = torch.multinomial(chance.scatter(1, labels, 0.0), MISTAKES, generator=draw.generator)
        level = USUAL * self.high[mistaken] + MISTAKEN_MEAN + MISTAKEN_SPREAD * draw.normal(MISTAKES)
        level = torch.maximum(level, self.background[mistaken] + LEAST)
        return mistaken, torch.where(draw.uniform(MISTAKES) < MISTAKEN, level, -LIMIT)

    def _noise(self, raised: Tensor, draw: "_Draw") -> Tensor:
        """Draw noise, [scenes, 521]; that of the background has a heavy upper tail, that of a rise none."""
        usual = (1.0 - OWN**2) ** 0.5 * draw.correlated() + OWN * draw.normal(CLASSES)
        usual = usual * (UNEVEN * draw.normal(1) - 0.5 * UNEVEN**2).exp()
        tail = (usual - 1.1).clamp(min=0.0) + (usual - 2.0).clamp(min=0.0)
        of_rise = RAISED_NOISE * (raised / RAISED_FULLY).clamp(max=1.0)
        more = (1.0 - OWN**2) ** 0.5 * draw.correlated() + OWN * draw.normal(CLASSES)
        noise: Tensor = NOISE * self.varies * (0.5 * usual + 0.45 * tail) + of_rise * more
        return noise

    def _silence(
        self, scenes: Sequence[Scene], strength: Tensor, duration: Tensor, draw: "_Draw"
    ) -> tuple[Tensor, Tensor]:
        """Let "Silence" show in pauses, which nobody mentions; where only silence is, hear little else."""
        only = torch.tensor([scene.labels == (SILENCE,) for scene in scenes])
        named = torch.tensor([SILENCE in scene.labels for scene in scenes])
        pauses = (draw.uniform(1)[:, 0] < 0.3) & ~named
        quiet = torch.minimum(strength, self.background + 2.0)
        strength = torch.where(only[:, None], quiet, strength)
        level = torch.where(only, 1.0 + 5.0 * draw.uniform(1)[:, 0], -4.0 + 5.0 * draw.uniform(1)[:, 0])
        length = torch.where(only, 0.85, 0.15) + torch.where(only, 0.15, 0.5) * draw.uniform(1)[:, 0]
        changed = only | pauses
        strength[:, SILENCE] = torch.where(changed, level, strength[:, SILENCE])
        duration[:, SILENCE] = torch.where(changed, length, duration[:, SILENCE])
        return strength, duration


class _Draw:
    """Random numbers for a batch."""

    def __init__(self, seed: int, rows: int, root: Tensor) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.rows = rows
        self.root = root

    def correlated(self) -> Tensor:
        """Draw for every class, as they go together, [rows, 521]."""
        return self.normal(CLASSES) @ self.root

    def normal(self, columns: int) -> Tensor:
        return torch.randn(self.rows, columns, generator=self.generator)

    def uniform(self, columns: int) -> Tensor:
        return torch.rand(self.rows, columns, generator=self.generator)


def _laid_out(scenes: Sequence[Scene]) -> tuple[Tensor, ...]:
    """Return labels, which are real and which spoken of, times, and given strengths, all [scenes, MOST]."""
    labels, there, spoken, when, told = [], [], [], [], []
    for scene in scenes:
        count = len(scene.labels)
        # What fills up names the first label once more, and so changes no other class.
        labels.append([*scene.labels, *scene.labels[:1] * (MOST - count)] if count else [0] * MOST)
        there.append([column < count for column in range(MOST)])
        spoken.append([label in scene.spoken for label in labels[-1]])
        when.append([scene.times.get(label, 0) if count else 0 for label in labels[-1]])
        told.append([scene.strengths.get(label, math.nan) for label in labels[-1]])
    return tuple(torch.tensor(part) for part in (labels, there, spoken, when, told))


def _saturated(strength: Tensor) -> Tensor:
    """Let strengths near CEILING approach it, and all others be as they are."""
    return (CEILING - torch.nn.functional.softplus(CEILING - strength)).clamp(min=-8.4)


def _times(strength: Tensor, when: Tensor, raised: Tensor, by: Tensor, draw: _Draw) -> tuple[Tensor, Tensor]:
    """Draw centre and duration of every class, both [scenes, 521]; what a label raises shares its time."""
    place = 2.0 * draw.uniform(when.shape[1]) - 1.0
    moment = 0.6 * draw.uniform(when.shape[1])
    place = torch.where(when == EARLIER, -1.0 + moment, torch.where(when == LATER, 1.0 - moment, place))
    shared = raised > 0.5
    place = torch.where(shared, place.gather(1, by), 2.0 * draw.uniform(CLASSES) - 1.0)
    ordered = shared & (when.gather(1, by) > 0)
    length = torch.where(shared, draw.normal(when.shape[1]).gather(1, by), draw.normal(CLASSES))
    duration = _interpolated(strength, DURATIONS) + _interpolated(strength, DURATIONS_SPREAD) * (
        0.9 * length + 0.4 * draw.normal(CLASSES)
    )
    duration = torch.where(ordered, duration.clamp(max=LONGEST_ORDERED), duration).clamp(0.05, 1.0)
    return 0.5 + 0.5 * (1.0 - duration) * place, duration


def _interpolated(strength: Tensor, values: tuple[float, ...]) -> Tensor:
    return torch.from_numpy(np.interp(strength.numpy(), STRENGTHS, values)).float()


def _voices(scenes: Sequence[Scene], speech: Tensor, draw: _Draw) -> Tensor:
    """Draw frames of low, high and any voice, [scenes, 3], given the strength of speech.

    Near what was measured: of men's voiced frames a third is high in the mean, of women's five sixths.
    """
    random = np.random.default_rng(int(torch.randint(2**31, (1,), generator=draw.generator)))
    amount = 0.4 + 1.1 * speech.numpy() + 0.8 * random.standard_normal(len(scenes))
    share = 1.0 / (1.0 + np.exp(-amount))
    voiced = np.minimum(share, 0.95) / (1.0 - np.minimum(share, 0.95))
    high = np.empty(len(scenes))
    for row, scene in enumerate(scenes):
        who = set(scene.voices)
        if not who and SPEECH in scene.labels:
            who = {MALE_VOICE if random.random() < MALE_SHARE else FEMALE_VOICE}
        if who == {MALE_VOICE}:
            high[row] = random.beta(0.8, 1.4)
        elif who == {FEMALE_VOICE}:
            high[row] = random.beta(6.0, 1.2)
        else:
            high[row] = random.beta(1.5, 1.0)
    low = (1.0 - high) * random.uniform(0.5, 1.0, len(scenes))
    return torch.from_numpy(np.stack([low * voiced, high * voiced, voiced], axis=1)).float()
