"""The bundled model's adapter: class scores over time → the sounds with most evidence of their own → memory.

A caption names a handful of sounds, while YAMNet gives a score to each of 521 classes, half of them
variants of each other ("Dog", "Bark", "Bow-wow"), some of which fire in every recording. So a class counts
by how far it stands above what it usually shows, and by what the louder classes do not explain: a bark
explains "Dog" and "Animal", thunder does not. The ten classes with most evidence left, each with its
strength and its time, are the memory; beside them how much speech there is and with what pitch, an overview
of all classes, which tells what is not there, and the style of writing. There is no threshold: what is weak
stays, and carries its weakness.
"""

from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from otoscribe.model.adapters.base import Adapter, AdapterOutput, AdapterSettings
from otoscribe.model.attention import EncoderLayer

CLASSES = 521
"""Classes that are heard."""
PITCHES = 3
"""Features of a frame besides the logits: its shares of low, high and any voice."""
SPEECH = 0
"""Index of the class "Speech"."""
PLACES = 10
"""Sounds in the memory."""
LIMIT = 9.0
"""Logits are cut to ± this: the 8-bit YAMNet's own floor, so that both kinds of weights mean the same."""
EXPLAINED = 0.5
"""Share of what a class shows that a louder class takes from it, at most."""
USUAL = 0.5
"""Share of what a class shows in many recordings that counts against it in any."""
UNCERTAIN_FRAMES = 2.0
"""Frames of full score that would halve a centre's distance from the middle: faint sounds tell no time."""
HEARD = -2.2
"""Strength from which a class is heard: a score of a tenth over all of the clip."""
STANDS_OUT = 4.5
"""Nats above its background from which a class is heard, however low its score."""
NAMED, DOUBT, ENOUGH = 3, 0.5, 2.0
"""Sounds that a caption should name, nats of their residue that count for nothing, and how many count."""
RELATED = 0.5
"""Share of its elevation, or of its clips, that a class has in common with a relative."""
SPEAKING = 6
"""The first classes are kinds of speech. Half of all clips have speech, so nothing else is its relative."""
DETAILS = 5
"""Numbers that describe a place: strength, elevation, residue, centre, duration."""


class Evidence(NamedTuple):
    """What a clip shows of every class, and of voices."""

    strength: Tensor
    """Logit of the root mean square of the scores, [clips, 521]; so a sound of 2 s counts in 30 s too."""
    centre: Tensor
    """Mean time of the scores as a share of the clip, [clips, 521], near .5 where little is heard."""
    duration: Tensor
    """Share of the clip over which the score is spread, [clips, 521], in (0, 1]."""
    voices: Tensor
    """Frames of speech with a low voice, a high voice, any voice, [clips, 3]."""


class EvidenceSettings(AdapterSettings):
    """Shape of the memory, and the ways of writing."""

    name: Literal["evidence"] = "evidence"
    d_model: int = Field(default=192, gt=0)
    """Width of the memory."""
    heads: int = Field(default=4, gt=0)
    """Attention heads."""
    head_dim: int = Field(default=48, gt=0)
    """Width of one head."""
    ff: int = Field(default=768, gt=0)
    """Inner width of the feed-forward layer."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Chance in training of dropping an element of a residual branch's output."""
    unseen: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Chance in training that the overview lacks a class."""
    styles: tuple[str, ...] = Field(default=("brief", "detailed"), min_length=1)
    """Ways of writing that are learned; captions are written in the first unless asked otherwise."""


class EvidenceMemory(Adapter):
    """Soft memory of the sounds that no louder sound explains; takes the output "hearing" of `yamnet_voice`.

    The three buffers are measured on real recordings by the recipe in `recipes/bundled`; without that, no
    class has a background and none explains another.
    """

    Settings = EvidenceSettings
    input_width = CLASSES + PITCHES

    background: Tensor
    """float32 [521]: a class's median strength over recordings of all kinds."""
    high: Tensor
    """float32 [521]: its 80th percentile."""
    explains: Tensor
    """float32 [521, 521]: share of class d's elevation above its background that class c shows too."""

    def __init__(self, settings: EvidenceSettings, width: int) -> None:
        super().__init__(settings, width)
        self.width = settings.d_model
        self.register_buffer("background", torch.full((CLASSES,), -LIMIT))
        self.register_buffer("high", torch.full((CLASSES,), -LIMIT))
        self.register_buffer("explains", torch.eye(CLASSES))
        self.classes = nn.Embedding(CLASSES, self.width)
        self.ranks = nn.Embedding(PLACES, self.width)
        self.details = nn.Sequential(nn.Linear(DETAILS, 64), nn.ReLU(), nn.Linear(64, self.width))
        self.voices = nn.Sequential(nn.Linear(PITCHES + 1, 64), nn.ReLU(), nn.Linear(64, self.width))
        self.overview = nn.Sequential(nn.Dropout(settings.unseen), nn.Linear(CLASSES, self.width))
        self.styles = settings.styles
        self.ways = nn.Embedding(len(settings.styles), self.width)
        nn.init.normal_(self.classes.weight, std=0.3)
        for small in (self.ranks, self.ways):
            nn.init.normal_(small.weight, std=0.1)
        self.layer = EncoderLayer(
            self.width, settings.heads, settings.head_dim, settings.ff, settings.dropout
        )

    def forward(self, features: Tensor, mask: Tensor | None) -> AdapterOutput:
        """Turn logits and pitches [clips, frames, 524] into memory [clips, styles + PLACES + 2, width].

        The first places are the styles, of which the mask shows the first; then come the sounds, that with
        most evidence first, the voices and the overview. A sound comes from the frames in which its score is
        high, the voices from those of speech, a style and the overview from none.
        """
        if mask is None:
            mask = torch.ones_like(features[..., 0], dtype=torch.bool)
        evidence = evidence_of(features, mask)
        sounds, residues = self.select(evidence.strength)
        style = torch.zeros_like(sounds[:, 0])
        memory, places = self.embed(evidence, sounds, residues, style)
        heard = torch.cat([sounds, torch.full_like(sounds[:, :1], SPEECH)], dim=1)
        logits = features.gather(2, heard[:, None].expand(-1, features.shape[1], -1))
        of_places = logits.clamp(-LIMIT, LIMIT).sigmoid() * mask[..., None]
        shares = (of_places / of_places.sum(1, keepdim=True)).transpose(1, 2)  # [clips, PLACES + 1, frames]
        nowhere = torch.zeros_like(shares[:, :1])
        styles = nowhere.expand(-1, len(self.styles), -1)
        sources = torch.cat([styles, shares, nowhere], dim=1)
        support, salience = self.support(evidence.strength), self.salience(sounds, residues)
        return AdapterOutput(memory, places, sources, support, salience)

    def support(self, strength: Tensor) -> Tensor:
        """Return how far each class or a relative of it is heard, in nats, [clips, 521]; below 0: not at all.

        Args:
            strength: [clips, 521].
        """
        heard = torch.maximum(strength - HEARD, strength - self.background - STANDS_OUT)
        return torch.where(self.related(), heard[:, :, None], -1e4).amax(dim=1)

    def salience(self, sounds: Tensor, residues: Tensor) -> Tensor:
        """Return how much a caption should name each of the first sounds, [clips, NAMED, 521].

        It stands at the class and at its relatives, by whose words the sound is named as well; else 0.

        Args:
            sounds: from `select`.
            residues: from `select`.
        """
        worth = (residues[:, :NAMED] - DOUBT).clamp(0.0, ENOUGH)
        return worth[..., None] * self.related()[sounds[:, :NAMED]].to(worth.dtype)

    def related(self) -> Tensor:
        """Return which classes are relatives, themselves too, bool [521, 521]."""
        related = torch.maximum(self.explains, self.explains.T) > RELATED
        numbers = torch.arange(CLASSES, device=related.device)
        speech, speaking = numbers == SPEECH, numbers < SPEAKING
        return related & (speaking[:, None] | ~speech) & (speaking | ~speech[:, None])

    def select(self, strength: Tensor) -> tuple[Tensor, Tensor]:
        """Take, ten times, the class with most evidence that those taken before do not explain.

        Args:
            strength: [clips, 521].

        Returns:
            The classes, int64 [clips, PLACES], and how much of each was left, [clips, PLACES].
        """
        elevation = (strength - self.background).clamp(min=0.0)
        own = strength - USUAL * self.high
        explained = torch.zeros_like(strength)
        sounds, residues = [], []
        for _ in range(PLACES):
            residue, sound = (own - EXPLAINED * explained).max(dim=1)
            sounds.append(sound)
            residues.append(residue)
            own = own.scatter(1, sound[:, None], -1e4)
            share = self.explains[sound] * elevation.gather(1, sound[:, None])
            explained = torch.maximum(explained, share)
        return torch.stack(sounds, dim=1), torch.stack(residues, dim=1)

    def embed(
        self, evidence: Evidence, sounds: Tensor, residues: Tensor, style: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Turn what was selected into memory [clips, styles + PLACES + 2, width] and its mask.

        Args:
            evidence: of the clips.
            sounds: from `select`.
            residues: from `select`.
            style: int64 [clips], which way to write.
        """
        strength, centre, duration = (part.gather(1, sounds) for part in evidence[:3])
        # Scaled to about 1, so that none drowns the others when training begins.
        details = torch.stack(
            [
                strength / 4.0,
                (strength - self.background[sounds]) / 6.0,
                residues / 4.0,
                (centre - 0.5) * 3.0,
                (duration - 0.6) * 2.0,
            ],
            dim=-1,
        )
        x = self.classes(sounds) + self.details(details) + self.ranks.weight
        speech = torch.cat([_shares(evidence.voices), evidence.strength[:, SPEECH, None] / 4.0], dim=1)
        elevation = (evidence.strength - self.background).clamp(min=0.0)
        x = torch.cat([x, self.voices(speech)[:, None], self.overview(elevation / 6.0)[:, None]], dim=1)
        x = self.layer(x, None)
        ways = self.ways.weight.expand(x.shape[0], -1, -1)
        shown = torch.arange(ways.shape[1], device=style.device) == style[:, None]
        mask = torch.cat([shown, torch.ones_like(x[..., 0], dtype=torch.bool)], dim=1)
        return torch.cat([ways, x], dim=1), mask


def evidence_of(features: Tensor, mask: Tensor) -> Evidence:
    """Measure what clips show.

    Args:
        features: logits and pitches, [clips, frames, 524].
        mask: bool [clips, frames], True for real frames.
    """
    real = mask[..., None].to(features.dtype)
    scores = features[..., :CLASSES].clamp(-LIMIT, LIMIT).sigmoid() * real
    frames = real.sum(1)
    square = scores.square().sum(1)
    total = scores.sum(1)
    moments = (real.cumsum(1) - 0.5) / frames[:, None]
    loud = (square / frames).sqrt()
    return Evidence(
        strength=((loud + 1e-4) / (1.0 - loud + 1e-4)).log(),
        centre=0.5 + ((scores * (moments - 0.5)).sum(1)) / (total + UNCERTAIN_FRAMES),
        duration=total.square() / (frames * square),
        voices=(features[..., CLASSES:] * scores[..., SPEECH, None]).sum(1),
    )


def _shares(voices: Tensor) -> Tensor:
    """Turn frames of low, high and any voice into numbers in [0, 1] that say little where little is heard."""
    low, high, voiced = voices.unbind(-1)
    return torch.stack([low / (voiced + 0.2), high / (voiced + 0.2), voiced / (voiced + 1.0)], dim=-1)
