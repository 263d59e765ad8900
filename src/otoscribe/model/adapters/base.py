"""Adapters: an encoder's output for a clip → the memory that the decoder attends to.

One file registers one adapter, with its settings as a nested class.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from otoscribe import settings
from otoscribe.errors import UsageError
from otoscribe.registry import Registry


class Adapter(nn.Module, ABC):
    """Interface of every adapter.

    Args:
        settings: of this adapter.
        width: width of the features it gets.

    Raises:
        UsageError: this adapter cannot take features of that width.
    """

    Settings: ClassVar[type[settings.Settings]]
    """What can be set; `name` is the adapter's registered name, and every other field has a default."""

    input_width: ClassVar[int | None] = None
    """The only width of features that this adapter can take; None: any."""

    width: int
    """Width of the memory."""

    def __init__(self, settings: settings.Settings, width: int) -> None:
        super().__init__()
        if self.input_width not in (None, width):
            raise UsageError(
                f"This adapter takes features {self.input_width} wide, not {width}. "
                "Choose another output of the encoder or another adapter."
            )
        self.settings = settings

    @abstractmethod
    def forward(self, features: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Turn features into memory.

        Args:
            features: float32 [batch, frames, width_in].
            mask: bool [batch, frames], True for real frames, at least one in every row; None: nothing
                is padded.

        Returns:
            Memory [batch, frames', width] and its mask [batch, frames'] or None. What stands in padded frames
            never changes the memory's real frames.
        """


ADAPTERS: Registry[type[Adapter]] = Registry("adapter")
