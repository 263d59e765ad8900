"""The phrase book: how each of AudioSet's 521 classes that YAMNet hears is put into words.

Our own wording, one row a class, in the order of YAMNet's outputs: whole phrases as they stand in captions,
and two short forms without article, as subtitles have them: a sustained or repeated sound in the present
participle ("dog barking"), a single abrupt one in the simple present ("dog barks").
"""

import csv
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from otoscribe.text.vocabulary import words_of

CLASSES = 521
_FILE = Path(__file__).with_name("phrase_book.csv")
_COLUMNS = ["class", "captions", "sustained", "abrupt"]
_PHRASE = re.compile(r"[a-z']+( [a-z']+)*")

LONGEST_SHORT_FORM = 40
"""Characters: with its brackets a short form fits a subtitle's line of 42."""


@dataclass(frozen=True)
class Sound:
    """How one class is put into words."""

    name: str
    """Its display name in AudioSet."""
    captions: tuple[str, ...]
    """Phrases for captions, at least one, the plainest first."""
    sustained: str
    """Short form of a sound that goes on."""
    abrupt: str
    """Short form of a sound that is over at once."""


@cache
def phrase_book() -> tuple[Sound, ...]:
    """Return all classes in the order of YAMNet's outputs."""
    with _FILE.open(encoding="utf-8", newline="") as file:
        return read_phrase_book(list(csv.reader(file)))


def read_phrase_book(rows: list[list[str]]) -> tuple[Sound, ...]:
    """Read the rows of a phrase book, the header first.

    Raises:
        ValueError: a column or class is missing or doubled, or a phrase is empty or not of plain lower-case
            words; the message names the row.
    """
    if not rows or rows[0] != _COLUMNS:
        raise ValueError(f"A phrase book begins with the columns {','.join(_COLUMNS)}.")
    if len(rows) != CLASSES + 1:
        raise ValueError(f"A phrase book has {CLASSES} classes, not {len(rows) - 1}.")
    sounds = tuple(_sound(row) for row in rows[1:])
    names = [sound.name for sound in sounds]
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"The class {doubled!r} stands twice in the phrase book.")
    return sounds


def _sound(row: list[str]) -> Sound:
    if len(row) != len(_COLUMNS) or not row[0]:
        raise ValueError(f"A row of the phrase book is a class, its captions and two short forms, not {row}.")
    name, captions, *short = row
    phrases = captions.split("|")
    for phrase in (*phrases, *short):
        if not _PHRASE.fullmatch(phrase) or " ".join(words_of(phrase)) != phrase:
            raise ValueError(f"{phrase!r} is no phrase of plain lower-case words, in the row of {name!r}.")
    for form in short:
        if len(form) > LONGEST_SHORT_FORM:
            raise ValueError(
                f"{form!r} has more than {LONGEST_SHORT_FORM} characters, in the row of {name!r}."
            )
    return Sound(name, tuple(phrases), *short)
