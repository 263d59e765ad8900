"""The split of real recordings that models are compared on."""

from itertools import combinations
from pathlib import Path

from checks.material import Recording
from checks.parts import PARTS, split
from otoscribe.text.vocabulary import words_of


def recording(number: int, kind: str, *captions: str) -> Recording:
    return Recording(Path(f"{number}.flac"), "corpus", kind, f"id {number}", captions)


def test_every_recording_has_one_part_and_no_caption_two() -> None:
    kinds = ("train", "val", "test", "development", "validation")
    recordings = [
        recording(number, kinds[number % 5], f"Sound {number} is heard.", f"A sound, number {number % 40}")
        for number in range(400)
    ]
    parts = split(recordings)
    assert [each.path for each in parts["evaluation"]] == [each.path for each in recordings[2::5]]
    assert [each.captions for each in parts["evaluation"]] == [each.captions for each in recordings[2::5]]
    assert len(parts["training"]) + len(parts["validation"]) == 320
    assert 50 < len(parts["validation"]) < 110
    texts = {
        part: {tuple(words_of(text)) for each in parts[part] for text in each.captions} for part in PARTS
    }
    paths = {part: {each.path for each in parts[part]} for part in PARTS}
    for one, other in combinations(PARTS, 2):
        assert not paths[one] & paths[other]
        assert not texts[one] & texts[other]
    kept = [text for part in PARTS for each in parts[part] for text in each.captions if "is heard" in text]
    assert len(kept) == 400  # what no other part has


def test_caption_of_an_evaluated_recording_is_not_learned_whatever_its_signs() -> None:
    evaluated = recording(0, "test", "A dog barks.")
    parts = split([recording(1, "train", "a dog barks"), evaluated])
    assert parts == {"training": [], "validation": [], "evaluation": [evaluated]}


def test_recording_of_no_known_split_is_in_no_part() -> None:
    assert not any(split([recording(0, "unknown", "This is a slow blues.")]).values())
