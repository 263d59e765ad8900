"""How much of a vocabulary has vectors that were learned elsewhere."""

from otoscribe.settings import Frozen

EXAMPLES = 5
"""Words that are shown of those without a vector."""


class Coverage(Frozen):
    """Which words of a vocabulary begin with a vector, and which at random."""

    name: str
    """Kind of the word embedding."""
    words: int
    """Of the vocabulary, without its specials."""
    missing: tuple[str, ...]
    """Those that begin at random, the most frequent first."""

    def __str__(self) -> str:
        """Return one line."""
        found = self.words - len(self.missing)
        line = f"{self.name} has a vector of {found} of {self.words} words"
        if not self.missing:
            return line
        examples = ", ".join(self.missing[:EXAMPLES]) + (", ..." if len(self.missing) > EXAMPLES else "")
        return f"{line}; {len(self.missing)} begin at random: {examples}"
