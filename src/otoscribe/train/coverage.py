"""How much of a vocabulary has vectors that were learned elsewhere, and whether they know too much."""

from pathlib import Path

from otoscribe.errors import RunError
from otoscribe.settings import Frozen

LEAK = (
    "Marked: the words' vectors depend on words that come later, which a captioner cannot know. Losses and "
    "scores that rest on them are for comparison only."
)
"""Stands beside every figure of a run whose words leak."""
EXAMPLES = 5
"""Words that are shown of those without a vector."""


class Coverage(Frozen):
    """Which words of a vocabulary begin with a vector, and which at random."""

    name: str
    """Kind of the word embedding."""
    words: int
    """Of the vocabulary, without its specials."""
    missing: tuple[str, ...] | None
    """Those that begin at random, the most frequent first; None: all do, as words of this kind do."""
    leaky: bool
    """Whether a word's vector depends on words after it."""

    def lines(self) -> list[str]:
        """Return what is to be said of it, a line each."""
        found = [] if self.missing is None else [self._found(self.missing)]
        return found + [LEAK] * self.leaky

    def _found(self, missing: tuple[str, ...]) -> str:
        found = self.words - len(missing)
        line = f"{self.name} has a vector of {found} of {self.words} words"
        if not missing:
            return line
        examples = ", ".join(missing[:EXAMPLES]) + (", ..." if len(missing) > EXAMPLES else "")
        return f"{line}; {len(missing)} begin at random: {examples}"


def coverage_of(run: Path) -> Coverage | None:
    """Read what a run notes of its words; None: it is from before runs did.

    Raises:
        RunError: the file is damaged.
    """
    path = run / "words.json"
    if not path.is_file():
        return None
    try:
        return Coverage.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # pydantic's and UTF-8's are ValueErrors
        raise RunError(f"{path} is damaged. Restore it from a copy, or train again.") from error
