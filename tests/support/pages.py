"""The project's pages, and what stands in them: blocks of code, commands, links."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PACKAGE = PROJECT / "src" / "otoscribe"
PAGES = {
    path.relative_to(PROJECT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md"), *PROJECT.glob("examples/*.md")])
}
"""Text by name: "docs/scoring.md"."""

NEWLINE = "\n"
GROUPS = ("data", "store", "study")
"""Commands that have commands of their own."""
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


def blocks_of(page: str) -> list[Block]:
    """Return the blocks of a page, in their order."""
    text = PAGES[page]
    return [
        Block(f"{page}:{text.count(NEWLINE, 0, found.start()) + 1}", found[1], found[2])
        for found in FENCE.finditer(text)
    ]


def lines_of(block: Block) -> list[str]:
    """Return the commands of a shell block, those of several lines as one, without comments."""
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [line for line in lines if line and not line.startswith("#")]


def commands_of(page: str) -> list[list[str]]:
    """Return what every `otoscribe ...` in the shell blocks of a page is given."""
    shell = (block for block in blocks_of(page) if block.language in ("sh", "console"))
    lines = (line for block in shell for line in lines_of(block))
    return [_arguments(line) for line in lines if line.startswith("otoscribe ")]


def mentions_in(page: str) -> list[list[str]]:
    """Return what every `otoscribe ...` in backticks is given; it may lack what the command needs."""
    spans = re.findall(r"`(otoscribe [a-z][^`]*)`", FENCE.sub("", PAGES[page]))
    return [_arguments(span) for span in spans]


def _arguments(line: str) -> list[str]:
    """Split a command; what its shell does with what it prints is no part of it."""
    parts = shlex.split(line, comments=True)
    ends = [place for place, part in enumerate(parts) if part in (">", "|")]
    words = parts[1 : min(ends, default=len(parts))]
    return [" ".join(words[:2]), *words[2:]] if words[0] in GROUPS else words
