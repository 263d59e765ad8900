"""A report as sections of text, tables and figures, and what they look like as a page and as Markdown."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from otoscribe.study.figures import Drawing, legible
from otoscribe.version import __version__


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    title: str
    numeric: bool = False


@dataclass(frozen=True)
class Cell:
    """A text in a table."""

    text: str
    order: float | str | None = None
    """What it is sorted by, if not by its text."""
    strong: bool = False
    code: bool = False


@dataclass(frozen=True)
class Table:
    """A table; its first column names the row."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    marked: frozenset[int] = frozenset()
    """Rows that rest on made-up weights."""
    intervals: tuple[tuple[float, float, float], ...] = ()
    """Low, mean and high of each row, drawn at its end; from 0 to 100."""
    sortable: bool = False


@dataclass(frozen=True)
class Section:
    """A part of the report under a heading of its own."""

    name: str
    """Of its place in the page."""
    title: str
    text: tuple[str, ...] = ()
    """Paragraphs above its tables and figures."""
    tables: tuple[Table, ...] = ()
    figures: tuple[Drawing, ...] = ()
    notes: tuple[str, ...] = ()
    """Paragraphs below them."""


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    subtitle: str
    facts: tuple[tuple[str, str], ...]
    """Figures at a glance: what, and how much."""
    warnings: tuple[str, ...]
    """What must be read first."""
    sections: tuple[Section, ...] = field(default=())


def html(page: Page) -> str:
    """Return the page as one HTML file that needs no other."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: legible(value) if type(value) is str else value,
    )
    template = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    return environment.from_string(template).render(page=page, version=__version__) + "\n"


def markdown(page: Page) -> str:
    """Return the page as Markdown, with its figures as files beside it."""
    return "\n\n".join(_blocks(page)) + "\n"


def _blocks(page: Page) -> Iterator[str]:
    yield f"# {escaped(page.title)}"
    yield from (f"> **{escaped(warning)}**" for warning in page.warnings)
    if page.subtitle:
        yield escaped(page.subtitle)
    yield "\n".join(f"- {escaped(what)}: {escaped(much)}" for what, much in page.facts)
    for section in page.sections:
        yield f"## {escaped(section.title)}"
        yield from map(escaped, section.text)
        for table in section.tables:
            yield f"**{escaped(table.caption)}**"
            yield _table(table)
        for figure in section.figures:
            yield f"![{escaped(figure.title)}](figures/{figure.name}.svg)"
            yield f"*{escaped(figure.title)}*"
        yield from map(escaped, section.notes)


def _table(table: Table) -> str:
    rules = ["---:" if column.numeric else "---" for column in table.columns]
    rows: list[Sequence[str]] = [[escaped(column.title) for column in table.columns], rules]
    rows += [[_cell(cell) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(cell: Cell) -> str:
    if cell.code and cell.text and "`" not in cell.text:
        return f"`{' '.join(cell.text.split())}`".replace("|", "\\|")
    text = "<br>".join(escaped(line) for line in cell.text.splitlines())
    return f"**{text}**" if cell.strong and text else text


def escaped(text: str) -> str:
    """Return text as Markdown that shows it as it is, in one line."""
    plain = " ".join(legible(text).split()).replace("&", "&amp;")
    return re.sub(r"([\\`*_{}\[\]<>|#~$])", r"\\\1", plain)


def scaled(value: float, low: float, high: float) -> float:
    """Return where a value stands between two others, from 0 to 100."""
    return round(100 * (value - low) / ((high - low) or 1), 2)
