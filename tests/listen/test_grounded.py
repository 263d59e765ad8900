"""Grounded search over made-up models: what stands out is named, what is not heard stays behind."""

from math import exp, log

import numpy as np
import pytest

from otoscribe.bundle.bundle import EncodedClip
from otoscribe.listen.grounded import NAMED, UNSUPPORTED, Ground, chance, grounded_search
from otoscribe.search.beam import search
from otoscribe.search.options import Search
from otoscribe.search.rules import Never
from otoscribe.text.phrase_book import CLASSES, phrase_book
from otoscribe.text.vocabulary import SPECIALS, Vocabulary
from support.table_stepper import Prefix, TableStepper

NAMES = [sound.name for sound in phrase_book()]
WORDS = Vocabulary((*SPECIALS, "bark", "rain", "siren", "and"))
BARK, RAIN, SIREN, AND = range(len(SPECIALS), len(WORDS))
END = 2

CAPTIONS = {(BARK,): 0.5, (RAIN,): 0.2, (SIREN,): 0.1, (BARK, AND, RAIN): 0.15, (BARK, AND, SIREN): 0.05}
"""What the model would write, with its probability."""


def following(clip: int, prefix: Prefix) -> np.ndarray:
    """Return the log-probability of every next word."""
    weights = np.zeros(len(WORDS))
    for caption, probability in CAPTIONS.items():
        if caption[: len(prefix)] == prefix:
            weights[caption[len(prefix)] if len(caption) > len(prefix) else END] += probability
    with np.errstate(divide="ignore"):
        return np.log(weights / weights.sum())


def ground(*heard: str, **salient: float) -> Ground:
    support = np.full(CLASSES, -1.0, np.float32)
    salience = np.zeros((3, CLASSES), np.float32)
    support[[NAMES.index(name) for name in heard]] = 1.0
    for row, (name, worth) in enumerate(salient.items()):
        salience[row, NAMES.index(name)] = worth
    return Ground(support, salience)


def best(known: Ground, candidates: int = 1, beam: int = 3, vocabulary: Vocabulary = WORDS) -> list[Prefix]:
    settings = Search(beam=beam, candidates=candidates, maximum_words=3, length_normalisation=1.0)
    [found] = grounded_search(TableStepper(following, [0]), [known], vocabulary, settings)
    return [hypothesis.tokens for hypothesis in found]


ALL = ("Bark", "Rain", "Siren")


def test_where_nothing_stands_out_the_likeliest_caption_is_best() -> None:
    assert best(ground(*ALL)) == [(BARK,)]


def test_what_stands_out_is_named_though_it_is_less_likely() -> None:
    assert best(ground(*ALL, Rain=2.0)) == [(BARK, AND, RAIN)]
    assert best(ground("Rain", Rain=2.0)) == [(RAIN,)]
    assert best(ground(*ALL, Bark=2.0, Siren=2.0)) == [(BARK, AND, SIREN)]
    # Of a plain search with this beam, no caption names both.
    plain = search(TableStepper(following, [0]), Search(beam=1, maximum_words=3))
    assert plain[0][0].tokens == (BARK,)
    assert best(ground(*ALL, Bark=2.0, Rain=2.0), beam=1) == [(BARK, AND, RAIN)]


def test_what_is_not_heard_stays_behind() -> None:
    assert best(ground("Rain", "Siren")) == [(RAIN,)]
    assert best(ground("Rain"), candidates=6, beam=6)[-1] == (BARK, AND, SIREN)


def test_scores_add_up() -> None:
    known = ground("Bark", Bark=1.0, Rain=0.5)
    assert known.merit(["bark", "and", "rain"]) == pytest.approx(1.5 * NAMED - UNSUPPORTED)
    assert known.merit(["and"]) == 0.0


def test_candidates_are_distinct_and_no_more_than_asked_for() -> None:
    found = best(ground(*ALL, Rain=0.1), candidates=3)
    assert len(set(found)) == len(found) == 3
    assert best(ground(*ALL, Rain=0.1), candidates=1) == found[:1]


def test_each_clip_is_judged_by_its_own_sounds() -> None:
    settings = Search(beam=3, maximum_words=3, length_normalisation=1.0)
    grounds = [ground(*ALL), ground(*ALL, Siren=2.0)]
    found = grounded_search(TableStepper(following, [0, 1]), grounds, WORDS, settings)
    assert [kept[0].tokens for kept in found] == [(BARK,), (BARK, AND, SIREN)]


def test_no_second_sound_is_searched_for_where_the_first_search_names_all() -> None:
    settings = Search(beam=3, maximum_words=3, length_normalisation=1.0)

    def steps(known: Ground) -> int:
        stepper = TableStepper(following, [0])
        grounded_search(stepper, [known], WORDS, settings)
        return len(stepper.rows_stepped)

    plain = TableStepper(following, [0])
    search(plain, settings.model_copy(update={"candidates": 3}))
    assert steps(ground(*ALL, Bark=2.0)) == steps(ground(*ALL)) == len(plain.rows_stepped)
    assert steps(ground(*ALL, Rain=2.0, Siren=2.0)) > len(plain.rows_stepped)


def test_rules_hold_in_both_searches() -> None:
    settings = Search(beam=3, candidates=3, maximum_words=3)
    for rule in (Never((BARK,)), Never((AND,))):
        [found] = grounded_search(
            TableStepper(following, [0]), [ground(*ALL, Bark=2.0, Rain=2.0)], WORDS, settings, [rule]
        )
        assert all(set(rule.words).isdisjoint(hypothesis.tokens) for hypothesis in found)


def test_a_model_without_a_word_that_joins_writes_as_it_would() -> None:
    others = Vocabulary((*SPECIALS, "bark", "rain", "siren", "und"))
    assert best(ground(*ALL), vocabulary=others) == [(BARK,)]


def test_a_clip_of_which_nothing_is_known_has_no_ground() -> None:
    known = ground("Bark")
    clip = EncodedClip(1.0, np.zeros((1, 1, 1, 1), np.float32), np.zeros((1, 1, 1, 1), np.float32), None)
    assert Ground.of(clip) is None
    given = EncodedClip(1.0, clip.keys, clip.values, None, known.support, known.salience)
    assert Ground.of(given) == known


def test_signs_and_chance() -> None:
    known = ground("Bark", Bark=1.0, Rain=0.5)
    assert known.signs(["bark", "and", "siren"], -0.7) == (1.0, -0.7, 1.0, 0.0, 1.0, 1.0)
    assert known.signs(["rain"], -0.2) == (1.0, -0.2, 0.0, 0.5, 1.0, 1.0)
    weights = (0.5, 1.0, 2.0, 0.0, -1.0, -3.0)
    log_odds = 0.5 - 0.7 + 2.0 - 1.0 - 3.0
    assert chance(weights, known.signs(["bark", "siren"], -0.7)) == pytest.approx(1 / (1 + exp(-log_odds)))
    assert log(chance((1e9, *weights[1:]), known.signs(["bark"], 0.0))) == pytest.approx(0.0, abs=1e-9)
