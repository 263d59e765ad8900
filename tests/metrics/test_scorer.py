import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from otoscribe.errors import MetricError, UsageError
from otoscribe.metrics import METRICS, Scorer, evaluation
from otoscribe.metrics.bleu import Bleu
from otoscribe.metrics.statistics import bootstrap_weights, interval
from support.evaluated import GOLDEN, golden

REFERENCES = {item["id"]: item["references"] for item in GOLDEN["items"]}
CANDIDATES = {item["id"]: item["candidate"] for item in GOLDEN["items"]}
WITHOUT_JAVA = METRICS[: METRICS.index("meteor")]
HALF = 5.01e-7  # the file holds six decimals


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put known answers in the place of programs and networks; returns the captions that they saw."""
    seen: list[str] = []

    class Spice:
        def __init__(self, *_: object) -> None:
            pass

        def score(self, candidates: Sequence[list[str]], references: Sequence[object]) -> Any:
            assert len(candidates) == len(references)
            seen.extend(" ".join(tokens) for tokens in candidates)
            return np.array([len(tokens) / 100 for tokens in candidates])

        def close(self) -> None:
            seen.append("closed")

    class Fense:
        def __init__(self, *_: object) -> None:
            pass

        def error_probability(self, texts: Sequence[str]) -> Any:
            return np.array([0.95 if "bad" in text else 0.1 for text in texts])

        def similarity(self, texts: Sequence[str]) -> Any:
            return np.array([0.5] * len(texts))

    def meteor(*_: object) -> None:
        raise MetricError("Not here.")

    monkeypatch.setattr(evaluation, "Meteor", meteor)
    monkeypatch.setattr(evaluation, "Spice", Spice)
    monkeypatch.setattr(evaluation, "Fense", Fense)
    return seen


def test_golden_scores_without_java() -> None:
    scores = Scorer(REFERENCES, WITHOUT_JAVA).score(CANDIDATES)
    assert scores.clips == tuple(REFERENCES)
    assert list(scores.corpus) == list(WITHOUT_JAVA)
    assert not scores.missing
    for metric in WITHOUT_JAVA:
        expected = [item[metric] for item in GOLDEN["items"]]
        np.testing.assert_allclose(scores.per_clip[metric], expected, rtol=0, atol=HALF)
        estimate = scores.corpus[metric]
        assert estimate.value == pytest.approx(GOLDEN["corpus"][metric], abs=HALF)
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low < estimate.value < estimate.high
    assert scores.statistics.clips == len(REFERENCES)


def test_resamples_of_bleu_are_corpora() -> None:
    """What a corpus scores is no mean of what its clips score, and neither is it in a resample."""
    bleu = Bleu(golden().references).statistics(golden().candidates)
    resampled = bleu.corpus(bootstrap_weights(len(REFERENCES)))[:, 3]
    estimate = Scorer(REFERENCES, ["bleu_4"]).score(CANDIDATES).corpus["bleu_4"]
    assert (estimate.low, estimate.high) == pytest.approx(interval(resampled), abs=1e-12)


def test_lists_mappings_and_any_order_give_the_same() -> None:
    by_id = Scorer(REFERENCES, WITHOUT_JAVA).score(dict(reversed(CANDIDATES.items())))
    in_order = Scorer(list(REFERENCES.values()), WITHOUT_JAVA).score(list(CANDIDATES.values()))
    assert in_order.clips == tuple(map(str, range(len(REFERENCES))))
    for metric in WITHOUT_JAVA:
        assert by_id.corpus[metric] == in_order.corpus[metric]
        assert by_id.per_clip[metric].tolist() == in_order.per_clip[metric].tolist()


def test_a_scorer_scores_many_systems() -> None:
    many = Scorer(REFERENCES, WITHOUT_JAVA)
    other = dict.fromkeys(REFERENCES, "a dog barks")
    assert many.score(other).corpus["bleu_1"].value < many.score(CANDIDATES).corpus["bleu_1"].value
    again = many.score(CANDIDATES)
    assert again.corpus == Scorer(REFERENCES, WITHOUT_JAVA).score(CANDIDATES).corpus


def test_spider_and_its_kin(planted: list[str]) -> None:
    references = [["a dog barks loudly"], ["rain falls on a roof"], ["birds sing"]]
    candidates = [
        ["a bad dog barks", "a dog barks loudly"],
        ["rain falls on a tin roof"],
        ["a bad bird", "birds sing"],
    ]
    scores = Scorer(references, ["cider_d", "spice", "spider", "spider_max", "spider_fl", "fense"]).score(
        candidates
    )
    cider = Scorer(references, ["cider_d"])
    first = cider.score([captions[0] for captions in candidates]).per_clip["cider_d"]
    last = cider.score([captions[-1] for captions in candidates]).per_clip["cider_d"]
    spider = (first + np.array([0.04, 0.06, 0.03])) / 2
    np.testing.assert_allclose(scores.per_clip["cider_d"], first)
    np.testing.assert_allclose(scores.per_clip["spice"], [0.04, 0.06, 0.03])
    np.testing.assert_allclose(scores.per_clip["spider"], spider)
    best = np.maximum(spider, (last + np.array([0.04, 0.06, 0.02])) / 2)
    np.testing.assert_allclose(scores.per_clip["spider_max"], best)
    assert (best > spider).any()
    np.testing.assert_allclose(scores.per_clip["spider_fl"], spider * [0.1, 1, 0.1])
    np.testing.assert_allclose(scores.per_clip["fense"], [0.05, 0.5, 0.05])
    for metric, values in scores.per_clip.items():
        assert scores.corpus[metric].value == pytest.approx(values.mean())


def test_other_candidates_than_the_best_are_read_for_spider_max_only(planted: list[str]) -> None:
    several = [["a dog", "a cat"], ["rain"]]
    Scorer([["a dog"], ["rain"]], ["spider"]).score(several)
    assert planted == ["a dog", "rain"]
    planted.clear()
    assert "spider_max" not in Scorer([["a dog"], ["rain"]]).score(["a dog", "rain"]).per_clip
    assert "spider_max" in Scorer([["a dog"], ["rain"]]).score(several).per_clip


def test_programs_end_with_the_block_and_can_start_again(planted: list[str]) -> None:
    with Scorer([["a dog"], ["rain"]], ["spice"]) as warm:
        warm.score(["a dog", "rain"])
        assert "closed" not in planted
    assert planted[-1] == "closed"
    warm.score(["a dog", "rain"])
    assert planted[-1] != "closed"


def test_an_interruption_does_not_wait_for_meteor(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = threading.Event()
    waited = []

    class Meteor:
        def __init__(self, *_: object) -> None:
            pass

        def statistics(self, *_: object) -> None:
            waited.append(closed.wait(20))
            raise MetricError("It was closed.")

        def close(self) -> None:
            closed.set()

    class Spice:
        def __init__(self, *_: object) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(evaluation, "Meteor", Meteor)
    monkeypatch.setattr(evaluation, "Spice", Spice)
    with pytest.raises(KeyboardInterrupt):
        Scorer([["a dog"]], ["spice", "meteor"]).score(["a dog"])
    assert waited == [True]


def test_a_metric_that_fails_is_missing_with_its_reason_and_never_zero(
    planted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    class Broken:
        def __init__(self, *_: object) -> None:
            calls.append("made")
            raise MetricError("No Java here.")

    monkeypatch.setattr(evaluation, "Spice", Broken)
    monkeypatch.setattr(evaluation, "Meteor", Broken)
    scores = Scorer(REFERENCES).score(CANDIDATES)
    for metric in ("meteor", "spice", "spider", "spider_fl"):
        assert scores.missing[metric] == "No Java here."
        assert metric not in scores.corpus
        assert metric not in scores.per_clip
    assert set(scores.corpus) == {*WITHOUT_JAVA, "fense"}
    assert len(calls) == 2  # once for each of the two, however many metrics need them


def test_a_number_with_a_fraction_is_two_words_for_ngrams_and_one_for_the_longest_sequence() -> None:
    # As in pycocoevalcap, which parts at any white space for the one, and at spaces only for the other.
    scores = Scorer([["1 1/2 dogs"], ["rain"]], ["bleu_3", "rouge_l"]).score(["1 1/2 dogs", "rain"])
    assert scores.per_clip["bleu_3"][0] == pytest.approx(1, abs=1e-6)
    scores = Scorer([["1 1/2 dogs"], ["rain"]], ["rouge_l"]).score(["1 cat", "rain"])
    assert scores.per_clip["rouge_l"][0] == 0


def test_one_clip_has_a_score_and_no_interval() -> None:
    scores = Scorer([["a dog barks"]], WITHOUT_JAVA).score(["a dog barks"])
    assert scores.corpus["bleu_2"].value == pytest.approx(1, abs=1e-6)
    assert scores.corpus["cider_d"].value == 0
    assert (scores.corpus["bleu_2"].low, scores.corpus["bleu_2"].high) == (None, None)


def test_an_empty_caption_scores_zero() -> None:
    scores = Scorer([["a dog barks"], ["rain"]], WITHOUT_JAVA).score(["", "rain"])
    for metric in WITHOUT_JAVA:
        assert scores.per_clip[metric][0] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("candidates", "kind", "message"),
    [
        ({"a": "x"}, MetricError, "'b' has no candidate"),
        ({"a": "x", "b": "x", "c": "x"}, MetricError, "'c' has no reference"),
        ({"a": "x", "b": []}, MetricError, "'b' has no candidate"),
        ({}, MetricError, "candidates are named like 'nothing', references like 'a'"),
        ({"a.flac": "x"}, MetricError, "candidates are named like 'a.flac', references like 'a'"),
        (["x", "x"], UsageError, "both by id, or both in the same order"),
        ({"a": "x", "b": "two\vlines"}, MetricError, "A candidate of 'b' cannot be scored"),
    ],
)
def test_candidates_that_do_not_fit(candidates: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        Scorer({"a": ["x"], "b": ["x", "y"]}, WITHOUT_JAVA).score(candidates)


@pytest.mark.parametrize("caption", [None, float("nan"), 5, b"x", [None], [["x"]], [b"x"]])
def test_what_is_no_text_is_no_caption(caption: Any) -> None:
    with pytest.raises(UsageError, match=r"A caption of '0' is .*, and not a text"):
        Scorer([["x"]], WITHOUT_JAVA).score([caption])
    with pytest.raises(UsageError, match=r"A caption of 'a' is .*, and not a text"):
        Scorer({"a": caption}, WITHOUT_JAVA)


@pytest.mark.parametrize("candidates", [None, 5])
def test_what_is_no_list_holds_no_captions(candidates: Any) -> None:
    with pytest.raises(UsageError, match="is neither"):
        Scorer([["x"]], WITHOUT_JAVA).score(candidates)


def test_captions_come_in_anything_that_can_be_gone_through() -> None:
    expected = Scorer([["a dog", "a cat"], ["rain"]], WITHOUT_JAVA).score(["a dog", "rain"]).corpus
    references = (iter(texts) for texts in [["a dog", "a cat"], ["rain"]])
    for candidates in (iter(["a dog", "rain"]), np.array(["a dog", "rain"])):
        assert Scorer([["a dog", "a cat"], ["rain"]], WITHOUT_JAVA).score(candidates).corpus == expected
    assert Scorer(references, iter(WITHOUT_JAVA)).score((["a dog"], ("rain",))).corpus == expected


@pytest.mark.parametrize("metrics", [[], (), "bleu_1"])
def test_metrics_are_a_list_of_names(metrics: Any) -> None:
    with pytest.raises(UsageError, match="a list of one name or more"):
        Scorer([["x"]], metrics)


def test_references_that_do_not_fit() -> None:
    for references in ({}, [], {"a": []}):
        with pytest.raises(UsageError, match="at least one"):
            Scorer(references)
    with pytest.raises(UsageError, match="'x' is neither"):
        Scorer("x")
    with pytest.raises(UsageError, match="Did you mean 'spider'"):
        Scorer([["x"]], ["spidr"])
    with pytest.raises(MetricError, match="A reference of '0' cannot be scored"):
        Scorer([["two\vlines"]])
    with pytest.raises(MetricError, match="There are 1 candidates for 2 clips"):
        Scorer([["x"], ["y"]]).score(["x"])


@pytest.mark.slow
def test_golden_scores_with_java_which_is_asked_once(
    spice_installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Parsing takes a second a caption; all of them are scored where METEOR and SPICE are tested.
    items = GOLDEN["items"][:3]
    references, candidates = ({item["id"]: item[of] for item in items} for of in ("references", "candidate"))
    metrics = METRICS[: METRICS.index("spider") + 1]
    told: list[str] = []
    with Scorer(references, metrics, progress=lambda what, done, total: told.append(what)) as scorer:
        scores = scorer.score(candidates)
    assert not scores.missing
    for metric in ("meteor", "spice"):
        expected = [item[metric] for item in items]
        np.testing.assert_allclose(scores.per_clip[metric], expected, rtol=0, atol=HALF)
    without_java = Scorer(references, WITHOUT_JAVA).score(candidates)
    for metric in WITHOUT_JAVA:
        assert scores.per_clip[metric].tolist() == without_java.per_clip[metric].tolist()
    spider = (without_java.per_clip["cider_d"] + [item["spice"] for item in items]) / 2
    np.testing.assert_allclose(scores.per_clip["spider"], spider, rtol=0, atol=HALF)
    assert {"METEOR: aligning captions", "SPICE: parsing captions", "SPICE: comparing"} <= set(told)

    def start(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr("subprocess.Popen", start)
    again = Scorer(references, metrics).score(candidates)
    assert again.corpus == scores.corpus


def test_a_score_is_had_by_name_or_the_reason_why_not(
    planted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise MetricError("No Java here.")

    monkeypatch.setattr(evaluation, "Meteor", broken)
    scores = Scorer(REFERENCES, ["meteor", "spice", "bleu_1", "spice"]).score(CANDIDATES)
    assert list(scores.corpus) == ["bleu_1", "spice"]
    assert scores["spice"] == scores.corpus["spice"]
    with pytest.raises(MetricError, match=r"There is no meteor\. No Java here\."):
        scores["meteor"]
    with pytest.raises(UsageError, match="no score named 'bleu_2'"):
        scores["bleu_2"]
