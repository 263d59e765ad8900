"""A scene: what is to be heard in a clip, and the caption that a model should write of it."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Scene:
    """One training example, as drawn for one epoch."""

    labels: tuple[int, ...]
    """Classes that are there, at most `channel.MOST`."""
    spoken: frozenset[int]
    """Those of them that the caption speaks of."""
    caption: str
    style: int
    """`examples.BRIEF` or `examples.DETAILED`."""
    voices: tuple[str, ...] = ()
    """Whose voices speak, as far as known: `examples.MALE_VOICE`, `examples.FEMALE_VOICE`."""
    times: dict[int, int] = field(default_factory=dict)
    """`examples.EARLIER` or `examples.LATER`, for classes whose order is to be heard."""
    strengths: dict[int, float] = field(default_factory=dict)
    """Strengths that the caption's words depend on; the channel draws those of other labels."""
