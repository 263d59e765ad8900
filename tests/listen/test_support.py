"""Words without support: named by the phrase book, and not heard."""

import numpy as np
import pytest

from otoscribe.listen.support import NO_NAMES, named, unsupported
from otoscribe.text.phrase_book import CLASSES, phrase_book
from otoscribe.text.vocabulary import words_of

NAMES = [sound.name for sound in phrase_book()]


def support(*heard: str) -> np.ndarray:
    values = np.full(CLASSES, -3.0, np.float32)
    values[[NAMES.index(name) for name in heard]] = 1.0
    return values


@pytest.mark.parametrize(
    ("caption", "heard", "count"),
    [
        ("a dog barks", ["Bark", "Dog"], 0),
        ("a dog barks", [], 2),
        ("a dog is barking", ["Bark"], 0),
        ("a rooster crows and a crowd cheers", ["Crowing, cock-a-doodle-doo", "Chicken, rooster", "Crow"], 2),
        ("a rooster crows and crowds are cheering", ["Crowd", "Cheering", "Crow", "Chicken, rooster"], 0),
        ("a man is in the background and then something moves", [], 0),
        ("zzz", [], 0),
        ("", [], 0),
        ("barking barking barking", [], 1),
    ],
)
def test_words_count_whose_sounds_are_not_heard(caption: str, heard: list[str], count: int) -> None:
    assert unsupported(words_of(caption), support(*heard)) == count


def test_the_edge_of_support_is_0() -> None:
    values = support()
    values[NAMES.index("Bark")] = 0.0
    assert unsupported(["barks"], values) == 0
    values[NAMES.index("Bark")] = -0.001
    assert unsupported(["barks"], values) == 1


def test_what_every_class_is_called_has_support_where_it_is_heard() -> None:
    for sound in phrase_book():
        for phrase in sound.captions:
            assert unsupported(words_of(phrase), support(sound.name)) == 0, phrase


def test_words_name_the_sounds_that_stand_out() -> None:
    salience = np.zeros((2, CLASSES), np.float32)
    salience[0, [NAMES.index("Bark"), NAMES.index("Dog")]] = 2.0
    salience[1, NAMES.index("Rain")] = 0.5
    assert named(words_of("a dog is barking"), salience) == 2.0
    assert named(words_of("a dog barks as rain falls"), salience) == 2.5
    assert named(words_of("a man is there"), salience) == 0.0
    assert named([], salience) == 0.0


def test_every_class_is_named_by_its_phrases() -> None:
    for number, sound in enumerate(phrase_book()):
        salience = np.zeros((1, CLASSES), np.float32)
        salience[0, number] = 1.0
        words = words_of(" ".join((sound.name, *sound.captions)))
        assert named(words, salience) == 1.0 or not set(words) - NO_NAMES, sound.name


def test_what_many_sounds_are_called_is_never_false() -> None:
    assert unsupported(words_of("music"), support()) == 0
    music = np.zeros((1, CLASSES), np.float32)
    music[0, NAMES.index("Music")] = 1.0
    assert named(["music"], music) == 1.0


def test_most_classes_can_be_told_unheard() -> None:
    told = [
        any(unsupported(words_of(phrase), support()) for phrase in sound.captions) for sound in phrase_book()
    ]
    assert np.mean(told) > 0.9
    assert "man" in NO_NAMES
