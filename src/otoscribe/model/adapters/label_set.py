"""The bundled model's adapter: class scores over time → the sounds most probably present → memory.

A caption names a handful of sounds, while an encoder such as YAMNet gives a score to each of 521 classes,
half of them variants of each other ("Dog", "Bark", "Bow-wow"). The adapter turns scores into evidence per
class by one logistic model, and finds the most probable *set* of labels: of all sets that stand on some
training clip, the one with the highest posterior. The labels of that set, how strong each one is, and
which come before others in time, are the memory.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from otoscribe.model.adapters.base import Adapter, AdapterOutput, AdapterSettings
from otoscribe.model.attention import EncoderLayer

CLASSES = 521
"""Classes that are heard."""
SPEECH = 0
"""Index of the class "Speech"."""
MALE_VOICE, FEMALE_VOICE = CLASSES, CLASSES + 1
"""Two further labels, which the pitch of voices tells."""
NOTHING = CLASSES + 2
"""Fills up the places of a set that has fewer labels than others."""
PLACES = 10
"""The most labels that a set has."""
PRIOR_WEIGHT = 1.0
"""Weight of a set's log-count."""
EVIDENCE_WEIGHT = 0.6
"""Weight of the labels' evidence; below 1, as classes that mean the same agree more than independent
witnesses would."""
STRENGTHS = (1.0, 2.7, 4.2)
"""Evidence, in nats, that separates the four strengths of a label; strength 0 means not known."""
ANY_TIME, EARLIER, LATER = 0, 1, 2
"""When a label is heard: throughout or not known, before others, or after others."""
DECIDED = 0.8
"""Share of a label's sound on one side of a moment from which it counts as before or after it."""
LIMIT = 9.0
"""Logits are cut to ± this: the 8-bit YAMNet's own floor, so that both kinds of weights mean the same."""
FEATURES = 4
"""Of the logistic model."""
PITCHES = 3
"""Features of a frame besides the logits: its shares of low, high and any voice."""
VOICED_FRAMES = 0.42
"""Frames of speech with a voice, about 0.2 s, below which pitch tells nothing."""
MALE_LOW = 0.6
"""Share of low voice in speech above which the voice is a man's."""
FEMALE_HIGH, FEMALE_LOW = 0.9, 0.06
"""Share of high voice above which it is a woman's, if that of low voice is below the second."""
SPEECH_EVIDENCE = 2.0
"""Evidence, in nats, from which speech is heard though it is not in the set."""


class LabelSetSettings(AdapterSettings):
    """Shape of the memory, and how many sets and styles there are."""

    name: Literal["label_set"] = "label_set"
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
    sets: int = Field(default=CLASSES, gt=0)
    """How many label sets have a prior; until they are fitted, each is one class."""
    styles: int = Field(default=2, gt=0)
    """Corpora of captions whose style was learned; captions are written in the first one's."""


class LabelSet(Adapter):
    """Most probable label set as memory: the adapter of the bundled model, its encoder and its recipe.

    It takes the output "hearing" of `yamnet_voice` and no other. Its logistic model and its sets are
    buffers that only the recipe in `recipes/bundled` fits; without that, each set is one class.
    """

    Settings = LabelSetSettings
    input_width = CLASSES + PITCHES

    coefficients: Tensor
    intercept: Tensor
    class_prior: Tensor
    members: Tensor
    log_counts: Tensor

    def __init__(self, settings: LabelSetSettings, width: int) -> None:
        super().__init__(settings, width)
        self.width = settings.d_model
        self.register_buffer("coefficients", torch.tensor([1.0] + [0.0] * (FEATURES - 1)))
        self.register_buffer("intercept", torch.zeros(()))
        self.register_buffer("class_prior", torch.full((CLASSES,), 1.0 / CLASSES))
        members = torch.full((settings.sets, PLACES), NOTHING, dtype=torch.int16)
        members[:, 0] = torch.arange(settings.sets) % CLASSES
        self.register_buffer("members", members)
        self.register_buffer("log_counts", torch.zeros(settings.sets))
        self.labels = nn.Embedding(NOTHING + 1, self.width)
        self.strengths = nn.Embedding(len(STRENGTHS) + 2, self.width)
        self.times = nn.Embedding(3, self.width)
        self.styles = nn.Embedding(settings.styles, self.width)
        nn.init.normal_(self.labels.weight, std=0.3)
        for small in (self.strengths, self.times, self.styles):
            nn.init.normal_(small.weight, std=0.1)
        self.layer = EncoderLayer(
            self.width, settings.heads, settings.head_dim, settings.ff, settings.dropout
        )

    def forward(self, features: Tensor, mask: Tensor | None) -> AdapterOutput:
        """Turn logits and pitches [clips, frames, 524] into memory [clips, 2 + PLACES, width].

        The first place of the memory is the style; then come the labels of the most probable set, and
        whose voice speaks. A label comes from the frames in which its score is high, the voice from those
        of speech, the style from none.
        """
        logits = features[..., :CLASSES].clamp(-LIMIT, LIMIT)
        pitches = features[..., CLASSES:]
        if mask is None:
            mask = torch.ones_like(features[..., 0], dtype=torch.bool)
        evidence = self.evidence(logits, mask)
        labels = self.most_probable_set(evidence)
        classes = labels.clamp(max=CLASSES - 1)
        strengths = self.strength(evidence.gather(1, classes))
        of_labels = logits.gather(
            2, classes[:, None].expand(-1, logits.shape[1], -1)
        )  # [clips, frames, PLACES]
        times = self.time(of_labels, labels, mask)
        speaks = (labels == SPEECH).any(1) | (evidence[:, SPEECH] > SPEECH_EVIDENCE)
        voice = torch.where(speaks, self.voice(logits[..., SPEECH], pitches, mask), NOTHING)[:, None]
        unknown = torch.zeros_like(voice)
        memory, places = self.embed(
            torch.cat([labels, voice], dim=1),
            torch.cat([strengths, unknown], dim=1),
            torch.cat([times, unknown], dim=1),
            torch.zeros_like(labels[:, 0]),
        )
        scores = torch.cat([of_labels, logits[..., SPEECH, None]], dim=2).sigmoid() * mask[..., None]
        shares = (scores / scores.sum(1, keepdim=True)).transpose(1, 2)  # [clips, PLACES + 1, frames]
        return AdapterOutput(memory, places, torch.cat([torch.zeros_like(shares[:, :1]), shares], dim=1))

    def evidence(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Return how much more probable a clip's sound makes each label, in nats, [batch, 521].

        That is the posterior logit of a label less its prior logit; the posterior is one logistic model for
        all classes.
        """
        features = self.calibration_features(logits, mask)
        return (features * self.coefficients).sum(-1) + self.intercept - self._prior_logit()

    def calibration_features(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Return what the logistic model looks at, [batch, 521, 4].

        The logit of the clip's mean score, the largest logit, the logit of the class's prior, and the
        logarithm of 1 + the class's rank by mean score.
        """
        real = mask[..., None]
        mean = (logits.sigmoid() * real).sum(1) / real.sum(1)
        largest = torch.where(real, logits, -LIMIT).amax(1)
        rank = (mean[:, None, :] > mean[:, :, None]).sum(2)
        loudness = ((mean + 1e-4) / (1.0 - mean + 1e-4)).log()
        prior = self._prior_logit().expand_as(mean)
        return torch.stack([loudness, largest, prior, (1.0 + rank).log()], dim=-1)

    def _prior_logit(self) -> Tensor:
        return (self.class_prior / (1.0 - self.class_prior)).log()

    def most_probable_set(self, evidence: Tensor) -> Tensor:
        """Return the labels, int64 [batch, PLACES], of the set with the highest posterior."""
        members = self.members.long()
        # The three labels that are never heard, NOTHING among them, carry no evidence.
        padded = torch.cat([evidence, evidence.new_zeros(evidence.shape[0], 3)], dim=1)
        total = padded[:, members].sum(-1)
        posterior = PRIOR_WEIGHT * self.log_counts + EVIDENCE_WEIGHT * total
        return members[posterior.argmax(1)]

    def strength(self, evidence: Tensor) -> Tensor:
        """Return the strength, 1 to 4, of evidence in nats."""
        return 1 + torch.stack([evidence > limit for limit in STRENGTHS]).sum(0)

    def time(self, logits: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
        """Tell which labels are heard before others: EARLIER, LATER or ANY_TIME, int64 [batch, PLACES].

        At the moment that parts the sounds best, labels with DECIDED of their score before it are earlier,
        and those with as much after it later; without one of each kind, all are ANY_TIME.

        Args:
            logits: of the labels over time, [batch, frames, PLACES].
            labels: [batch, PLACES], NOTHING where there is none.
            mask: bool [batch, frames], True for real frames.
        """
        scores = logits.sigmoid() * mask[..., None]
        before = (scores / scores.sum(1, keepdim=True)).cumsum(1)
        real = (labels < CLASSES)[:, None]
        earliest = torch.where(real, before, 0.0).amax(2)
        latest = torch.where(real, 1.0 - before, 0.0).amax(2)
        parted = (earliest - DECIDED).clamp(min=0.0) * (latest - DECIDED).clamp(min=0.0)
        best, moment = parted.max(1)
        at = before.gather(1, moment[:, None, None].expand(-1, 1, labels.shape[1]))[:, 0]
        times = torch.where(at > DECIDED, EARLIER, torch.where(at < 1.0 - DECIDED, LATER, ANY_TIME))
        return torch.where((best > 0.0)[:, None] & real[:, 0], times, ANY_TIME)

    def voice(self, speech: Tensor, pitches: Tensor, mask: Tensor) -> Tensor:
        """Tell whose voice speaks: MALE_VOICE, FEMALE_VOICE or, where pitch does not tell, NOTHING.

        Args:
            speech: logits of the class, [batch, frames].
            pitches: shares of low, high and any voice, [batch, frames, 3].
            mask: bool [batch, frames], True for real frames.

        Returns:
            int64 [batch].
        """
        low, high, voiced = (pitches * (speech.sigmoid() * mask)[..., None]).sum(1).unbind(-1)
        enough = voiced > VOICED_FRAMES
        male = enough & (low > MALE_LOW * voiced)
        female = enough & (high > FEMALE_HIGH * voiced) & (low < FEMALE_LOW * voiced)
        return torch.where(male, MALE_VOICE, torch.where(female, FEMALE_VOICE, NOTHING))

    def embed(self, labels: Tensor, strengths: Tensor, times: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        """Turn labels into memory [batch, 1 + places, width] and its mask.

        Args:
            labels: int64 [batch, places], NOTHING where there is none.
            strengths: int64 [batch, places], 0 to 4.
            times: int64 [batch, places].
            style: int64 [batch], which corpus's.
        """
        x = self.labels(labels) + self.strengths(strengths) + self.times(times)
        x = torch.cat([self.styles(style)[:, None], x], dim=1)
        mask = torch.cat([torch.ones_like(labels[:, :1], dtype=torch.bool), labels != NOTHING], dim=1)
        return self.layer(x, mask), mask
