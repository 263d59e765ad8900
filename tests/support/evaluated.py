"""Evaluated sets for tests of metrics: generated ones, and real systems with the scores of pycocoevalcap."""

import csv
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import strategies as st

from otoscribe.text.vocabulary import words_of

Tokens = list[str]

SYSTEMS = (*(f"baseline_alt{i}" for i in range(1, 6)), "conette")
GOLDEN_FOLDER = Path(__file__).parents[1] / "golden" / "metrics"
GOLDEN = json.loads((GOLDEN_FOLDER / "golden.json").read_text("utf-8"))


class Evaluated(NamedTuple):
    candidates: list[Tokens]
    references: list[list[Tokens]]


def golden() -> Evaluated:
    items = GOLDEN["items"]
    return Evaluated(
        [item["candidate_tok"].split() for item in items],
        [[text.split() for text in item["references_tok"]] for item in items],
    )


def real_system(shared_data: Path, system: str) -> tuple[Evaluated, list[dict[str, str]]]:
    """Return the texts, and a row of published scores for each clip, with ten significant digits."""
    with (shared_data / "golden" / "metrics" / f"{system}_clotho_eval.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1045
    # These texts hold no word that the PTB tokeniser would split.
    candidates = [words_of(row["candidate"]) for row in rows]
    return Evaluated(
        candidates, [[words_of(text) for text in json.loads(row["references"])] for row in rows]
    ), rows


@st.composite
def evaluated_sets(draw: st.DrawFn) -> Evaluated:
    """Few words, so that much matches; no reference holds f or g. Texts may be empty, clips single."""
    heard = st.lists(st.sampled_from("abcde"), max_size=12)
    spoken = st.lists(st.sampled_from("abcdefg"), max_size=12)
    clips = draw(st.lists(st.tuples(spoken, st.lists(heard, min_size=1, max_size=4)), min_size=1, max_size=6))
    return Evaluated([candidate for candidate, _ in clips], [texts for _, texts in clips])


def stock(module: str, name: str, evaluated: Evaluated, **options: Any) -> tuple[Any, Any]:
    """Score by pycocoevalcap, whose score of the corpus and of each clip is the standard to meet."""
    # Its own modules, not the package's face: that one needs Java.
    scorer = getattr(pytest.importorskip(f"pycocoevalcap.{module}"), name)()
    candidates = {clip: [" ".join(tokens)] for clip, tokens in enumerate(evaluated.candidates)}
    references = {clip: [" ".join(t) for t in texts] for clip, texts in enumerate(evaluated.references)}
    corpus, per_clip = scorer.compute_score(references, candidates, **options)
    return corpus, per_clip
