"""Adapters: an encoder's output for a clip → the memory that the decoder attends to.

One file is one adapter, with its settings.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from otoscribe.errors import UsageError
from otoscribe.registry import Registry
from otoscribe.settings import Frozen


class AdapterSettings(Frozen):
    """What every adapter's settings hold."""

    name: str
    """Name of the adapter."""


class AdapterOutput(NamedTuple):
    """What the decoder attends to."""

    memory: Tensor
    """float32 [clips, places, width]."""
    mask: Tensor | None
    """bool [clips, places], True for real places; None: all are."""
    sources: Tensor | None = None
    """float32 [clips, places, frames], at least 0: which frames a place of the memory comes from, in shares
    that add up to 1, or to 0 for a place that comes from none. None: one place a frame, in order."""
    support: Tensor | None = None
    """float32 [clips, classes]: how far each class of the phrase book, or a relative of it, is heard; below
    0, a caption that speaks of it has no support. None: not known."""
    salience: Tensor | None = None
    """float32 [clips, sounds, classes], at least 0, beside support: how much a caption should name each of
    the sounds with most evidence, at every class by whose words it is named. None where support is."""


class Adapter(nn.Module, ABC):
    """Interface of every adapter.

    Args:
        settings: of this adapter.
        width: width of the features it gets.

    Raises:
        UsageError: this adapter cannot take features of that width.
    """

    Settings: ClassVar[type[AdapterSettings]]
    """What can be set; every field but `name` has a default."""

    input_width: ClassVar[int | None] = None
    """The only width of features that this adapter can take; None: any."""

    width: int
    """Width of the memory."""

    quadratic: ClassVar[bool] = False
    """Whether it compares each frame with each, so that its memory grows with the square of their number."""

    styles: tuple[str, ...] = ()
    """Ways of writing that were learned. Each is a place of the memory, the first ones in this order; the
    mask shows the first style and hides the others."""

    def __init__(self, settings: AdapterSettings, width: int) -> None:
        super().__init__()
        if self.input_width not in (None, width):
            raise UsageError(
                f"This adapter takes features {self.input_width} wide, not {width}. "
                "Choose another output of the encoder or another adapter."
            )
        self.settings = settings

    @abstractmethod
    def forward(self, features: Tensor, mask: Tensor | None) -> AdapterOutput:
        """Turn features into memory.

        Args:
            features: float32 [clips, frames, width_in].
            mask: bool [clips, frames], True for real frames, at least one in every row; None: nothing
                is padded.

        Returns:
            The memory, its mask and its sources, and what is known of the classes. What stands in padded
            frames never changes real places.
        """


ADAPTERS: Registry[Adapter] = Registry("adapter", Adapter, __package__)
