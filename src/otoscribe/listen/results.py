"""What listening gives: captions with their scores, and failures."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """One way to describe a recording."""

    caption: str
    log_probability: float
    """Natural logarithm of the model's probability for exactly these words, summed over them and the end."""
    confidence: float
    """Geometric mean of the probabilities of the words and the end, in (0, 1]."""
    words: tuple[tuple[str, float], ...]
    """Each word with its probability given the words before it."""


@dataclass(frozen=True)
class Caption:
    """What was heard in a recording."""

    file: str | None
    """The recording as it was named, "-" for standard input; None for what has no name: bytes, an array."""
    seconds: float
    """Duration of the recording."""
    candidates: tuple[Candidate, ...]
    """At least one, best first."""
    channel: int | None = None
    """Which channel was heard, from 1 on; None if all were mixed."""
    notes: tuple[str, ...] = ()
    """What is odd about the recording, such as "it is silent"; see `otoscribe.audio.notes`."""

    @property
    def caption(self) -> str:
        """The best candidate's words."""
        return self.candidates[0].caption

    @property
    def log_probability(self) -> float:
        """The best candidate's log-probability."""
        return self.candidates[0].log_probability

    @property
    def confidence(self) -> float:
        """The best candidate's confidence, in (0, 1]."""
        return self.candidates[0].confidence


@dataclass(frozen=True)
class Failure:
    """A recording that got no caption."""

    file: str | None
    """As in `Caption`."""
    message: str
    """One or two sentences: what is wrong, and what to do."""
