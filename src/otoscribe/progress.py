"""How long work tells what it is doing, without knowing of terminals."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is. May come from any thread."""
