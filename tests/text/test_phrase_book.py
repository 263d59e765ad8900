"""The phrase book: every class once, in words that a caption or a subtitle can hold."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from otoscribe.text.phrase_book import CLASSES, Sound, phrase_book, read_phrase_book
from otoscribe.text.vocabulary import words_of

Rows = list[list[str]]


def rows() -> Rows:
    """Return the book's own rows."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["class", "captions", "sustained", "abrupt"])
    for sound in phrase_book():
        writer.writerow([sound.name, "|".join(sound.captions), sound.sustained, sound.abrupt])
    return list(csv.reader(io.StringIO(text.getvalue())))


def test_a_class_has_whole_phrases_and_two_short_forms() -> None:
    assert phrase_book()[70] == Sound("Bark", ("a dog barks", "a dog is barking"), "dog barking", "dog barks")


def test_what_is_written_is_what_is_read() -> None:
    assert read_phrase_book(rows()) == phrase_book()


def test_the_classes_are_those_of_yamnet_in_its_order(shared_data: Path) -> None:
    with (shared_data / "weights" / "yamnet_class_map.csv").open(encoding="utf-8", newline="") as file:
        names = [row["display_name"] for row in csv.DictReader(file)]
    assert [sound.name for sound in phrase_book()] == names


def test_short_forms_have_no_article_and_say_what_sounds_now() -> None:
    for sound in phrase_book():
        for form in (sound.sustained, sound.abrupt):
            words = words_of(form)
            assert words[0] not in ("a", "an", "the", "someone", "something"), sound.name
            assert "is" not in words or form == sound.abrupt, sound.name
            assert "heard" not in words, sound.name


def test_phrases_of_a_class_are_not_the_same_twice() -> None:
    for sound in phrase_book():
        assert len(set(sound.captions)) == len(sound.captions), sound.name


def cell(row: int, column: int, text: str) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        rows[row][column] = text

    return change


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows.pop(0), "begins with the columns class,captions,sustained,abrupt"),
        (lambda rows: rows.clear(), "begins with the columns"),
        (lambda rows: rows.pop(), f"has {CLASSES} classes, not {CLASSES - 1}"),
        (cell(2, 0, "Speech"), "'Speech' stands twice"),
        (cell(3, 1, ""), "'' is no phrase of plain lower-case words, in the row of 'Conversation'"),
        (cell(3, 1, "people talk|"), "'' is no phrase"),
        (cell(3, 1, "People talk"), "'People talk' is no phrase"),
        (cell(3, 2, "people talk, loudly"), "'people talk, loudly' is no phrase"),
        (cell(3, 2, "people  talk"), "'people  talk' is no phrase"),
        (cell(3, 3, "people talk " * 4 + "on"), "more than 40 characters, in the row of 'Conversation'"),
        (lambda rows: rows[3].pop(), "a class, its captions and two short forms"),
        (cell(3, 0, ""), "a class, its captions and two short forms"),
    ],
)
def test_a_spoiled_book_is_refused_by_the_row(spoil: Callable[[Rows], None], message: str) -> None:
    spoiled = rows()
    spoil(spoiled)
    with pytest.raises(ValueError, match=message):
        read_phrase_book(spoiled)
