import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otoscribe.errors import BundleError
from otoscribe.text.vocabulary import END, PAD, SPECIALS, START, UNKNOWN, Vocabulary, words_of


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A dog barks.", ["a", "dog", "barks"]),
        ('He says: "stop!"; what?', ["he", "says", "stop", "what"]),
        ("gets louder,then stops", ["gets", "louder", "then", "stops"]),
        ("a high-pitched, man's  voice\n", ["a", "high-pitched", "man's", "voice"]),
        ("it\u2019s \u201cloud\u201d", ["it's", "loud"]),
        (" .,. ", []),
    ],
)
def test_words_of(caption: str, words: list[str]) -> None:
    assert words_of(caption) == words


def test_ids_begin_with_the_specials_then_the_most_frequent() -> None:
    vocabulary = Vocabulary.from_captions(["The cat.", "the dog", "a dog"])
    assert vocabulary.words == (*SPECIALS, "dog", "the", "a", "cat")
    assert tuple(map(vocabulary.words.index, SPECIALS)) == (PAD, START, END, UNKNOWN)
    assert len(vocabulary) == 8
    assert Vocabulary.from_captions(["The cat.", "the dog", "a dog"], minimum_count=2).words[4:] == (
        "dog",
        "the",
    )


def test_encode_and_decode() -> None:
    vocabulary = Vocabulary.from_captions(["a dog barks"])
    assert vocabulary.encode("A dog, a cat") == [4, 6, 4, UNKNOWN]
    assert vocabulary.decode([START, 4, UNKNOWN, 6, END, 5]) == "a dog"
    for index in (-1, 7):
        with pytest.raises(IndexError, match="no word"):
            vocabulary.decode([index])


def test_a_caption_cannot_spell_a_special() -> None:
    vocabulary = Vocabulary.from_captions(["<end> <start> of <pad>"])
    assert vocabulary.words == (*SPECIALS, "of")
    assert vocabulary.encode("<end> of <pad>") == [UNKNOWN, 4, UNKNOWN]


@settings(derandomize=True)
@given(st.lists(st.text(max_size=30), max_size=8))
def test_any_text_survives_encoding_and_json(captions: list[str]) -> None:
    vocabulary = Vocabulary.from_captions(captions)
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary
    for caption in captions:
        known = [word for word in words_of(caption) if word not in SPECIALS and word.isprintable()]
        assert vocabulary.decode(vocabulary.encode(caption)) == " ".join(known)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("{}", "is not a JSON list of words"),
        ('["<pad>", 1]', "is not a JSON list of words"),
        ('["a", "dog"]', "does not begin with <pad>, <start>, <end>, <unknown>"),
        (json.dumps([*SPECIALS, "a", "a"]), "lists a word twice"),
        (json.dumps([*SPECIALS, "a b"]), "lists 'a b', which is not one lower-case word"),
        (json.dumps([*SPECIALS, ""]), "lists '', which"),
        (json.dumps([*SPECIALS, "<end>"]), "lists '<end>', which"),
    ],
)
def test_a_damaged_vocabulary_is_refused(text: str, reason: str) -> None:
    with pytest.raises(BundleError, match=f"The vocabulary cannot be used: it {reason}"):
        Vocabulary.from_json(text)


@pytest.mark.parametrize("word", ["a\x1b[2J", "bell\x07", "\udc80", "zero\u200bwidth"])
def test_words_that_cannot_be_printed_are_no_words(word: str) -> None:
    with pytest.raises(BundleError, match="without punctuation that prints"):
        Vocabulary.from_json(json.dumps([*SPECIALS, word]))
    assert Vocabulary.from_captions([f"dog {word}"]).encode(f"{word} dog")[-1] != UNKNOWN
    assert all(known.isprintable() for known in Vocabulary.from_captions([f"dog {word}"]).words)
