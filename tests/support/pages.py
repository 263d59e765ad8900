"""The project's pages, and what stands in them: blocks of code, commands, links."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PACKAGE = PROJECT / "src" / "otoscribe"
PAGES = {
    path.relative_to(PROJECT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md"), *PROJECT.glob("examples/*.md")])
}
"""Text by name: "docs/scoring.md"."""

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r"# ([\w./-]+\.\w+)\n")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    place: str
    """Page and line, for errors."""
    language: str
    text: str

    @property
    def title(self) -> str | None:
        """The file that it shows, which its first line names: "# my_words.py"."""
        named = TITLE.match(self.text)
        return named[1] if named else None

    @property
    def body(self) -> str:
        """The text without the title."""
        return TITLE.sub("", self.text, count=1)


def blocks_of(page: str) -> Iterator[Block]:
    text = PAGES[page]
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(f"{page}:{line}", found[1], found[2])


def lines_of(block: Block) -> list[str]:
    """Return the commands of a shell block, those of several lines as one, without comments."""
    joined = block.text.replace("\\\n", " ")
    if block.language == "console":
        lines = [line.removeprefix("$ ") for line in joined.splitlines() if line.startswith("$ ")]
    else:
        lines = joined.splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def arguments_of(line: str) -> list[str]:
    """Return what a command is given, without what its shell does with what it prints."""
    parts = shlex.split(line, comments=True)
    ends = [place for place, part in enumerate(parts) if part in (">", "|", "&&")]
    return parts[: min(ends, default=len(parts))]


def mentions(page: str) -> list[list[str]]:
    """Return every `otoscribe ...` of a page that stands in backticks, as arguments, for what it names."""
    spans = re.findall(r"`(otoscribe [a-z][^`]*)`", FENCE.sub("", PAGES[page]))
    return [arguments_of(" ".join(span.split())) for span in spans]
