"""From next-word log-probabilities to captions: batched beam search, written once over a `Stepper`.

Left to right as in Sutskever et al. 2014, section 3.2. Each clip has `beam` slots. At every step all
continuations of a clip's live hypotheses compete for its free slots by log-probability; one that wins a slot
with `END` is finished and keeps it. A beam of 1 is greedy decoding; one with room for all is exhaustive.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from otoscribe.errors import BundleError
from otoscribe.search.options import Search
from otoscribe.search.rules import Rule, rules_of
from otoscribe.search.stepper import Floats, Integers, Stepper
from otoscribe.text.vocabulary import END, START

State = TypeVar("State")

_GROUPS = 8
"""Into which the words are divided to find the most probable: with few groups, the bound that their largest
give lets many pass; with many, finding these takes as long as what they save."""
_LEAST = -1e30
"""Below every log-probability but -inf."""


@dataclass(frozen=True)
class Hypothesis:
    """A finished caption."""

    tokens: tuple[int, ...]
    """Ids of the words, without `START` and `END`."""
    log_probability: float
    """Natural logarithm, summed over the words and `END`."""
    score: float
    """What hypotheses rank by, see `Search.length_normalisation`."""
    token_log_probabilities: tuple[float, ...]
    """Those of the words in order, then of `END`."""


@dataclass(frozen=True)
class _Live:
    """The unfinished hypotheses: one line per clip, best first, shorter lines filled with dead rows."""

    clip: Integers
    """Which clip each line is, [lines]."""
    slots: Integers
    """Free slots of each line's clip, [lines]."""
    history: Integers
    """Words so far, [lines, beam, time], `START` first."""
    token_log_probabilities: NDArray[np.float64]
    """[lines, beam, time - 1]."""
    log_probability: NDArray[np.float64]
    """Their sum, [lines, beam]; -inf in dead rows, which therefore never continue."""


def search(stepper: Stepper[State], settings: Search, rules: Sequence[Rule] = ()) -> list[list[Hypothesis]]:
    """Find each clip's best captions.

    `PAD`, `START` and `UNKNOWN` are never generated. Ties go to the hypothesis that finished first, then to
    the one with the better beginning, then to the lower token id. A clip's result is the same in any batch.

    Args:
        stepper: the model, holding the clips.
        settings: the kind of search.
        rules: what is forbidden besides.

    Returns:
        For each clip up to `settings.candidates` hypotheses, best first; fewer only if no others have a
        probability above 0.

    Raises:
        BundleError: the model returns log-probabilities that are not numbers.
    """
    clips = stepper.clips
    finished: list[list[Hypothesis]] = [[] for _ in range(clips)]
    if not clips:
        return finished
    rules = [*rules_of(settings), *rules]
    live = _Live(
        clip=np.arange(clips),
        slots=np.full(clips, settings.beam),
        history=np.full((clips, 1, 1), START),
        token_log_probabilities=np.zeros((clips, 1, 0)),
        log_probability=np.zeros((clips, 1)),
    )
    state = stepper.start()
    while True:
        log_probabilities, state = stepper.step(state, live.history)
        end = log_probabilities[..., END].copy()
        line, row, token, total = _continuations(log_probabilities, end, live, rules)
        ended, slots = token == END, live.slots
        if ended.any():
            for at in np.flatnonzero(ended):
                words = live.history[line[at], row[at], 1:]
                parts = live.token_log_probabilities[line[at], row[at]]
                last = float(end[line[at], row[at]])
                _keep(finished[live.clip[line[at]]], words, parts, last, float(total[at]), settings)
            slots = slots - np.bincount(line[ended], minlength=live.clip.size)
            line, row, token, total = (values[~ended] for values in (line, row, token, total))

        going = _going(line, total, live, finished, settings)
        if not going.size:
            return finished
        chosen, dead = _lines(line, going)  # both [lines, beam]
        line, row, token = line[chosen], row[chosen], token[chosen]
        width, part = live.history.shape[1], log_probabilities[line, row, token].astype(np.float64)
        live = _Live(
            clip=live.clip[going],
            slots=slots[going],
            history=np.concatenate([live.history[line, row], token[..., None]], axis=-1),
            token_log_probabilities=np.concatenate(
                [live.token_log_probabilities[line, row], part[..., None]], axis=-1
            ),
            log_probability=np.where(dead, -inf, total[chosen]),
        )
        rows = line * width + row
        if not np.array_equal(rows.ravel(), np.arange(slots.size * width)):
            state = stepper.reorder(state, rows)


def _continuations(
    log_probabilities: Floats, end: Floats, live: _Live, rules: Sequence[Rule]
) -> tuple[Integers, Integers, Integers, NDArray[np.float64]]:
    """Apply the rules, and return line, row, token and total log-probability of what wins the slots.

    By line, the best first.
    """
    for rule in rules:
        rule.apply(log_probabilities, live.history)
    size = -(-log_probabilities.shape[-1] // _GROUPS)
    best = np.maximum.reduceat(log_probabilities, np.arange(0, log_probabilities.shape[-1], size), axis=-1)
    stuck = best.max(axis=-1) == -inf
    if np.isnan(best).any() or np.isnan(end).any():
        raise BundleError(
            f"The model's log-probabilities after {live.history.shape[-1] - 1} words are not numbers (NaN): "
            f"its weights are damaged. Export or copy the model again."
        )
    # What no word may continue ends: at the maximum, and where the other rules leave nothing.
    log_probabilities[stuck, END] = best[stuck, END // size] = end[stuck]
    return _largest(log_probabilities, best, live.log_probability, live.slots)


def _largest(
    parts: Floats, best: Floats, before: NDArray[np.float64], counts: Integers
) -> tuple[Integers, Integers, Integers, NDArray[np.float64]]:
    """Pick each line's `counts` largest sums above -inf, ties to the earlier row, then token.

    Args:
        parts: [lines, beam, vocabulary].
        best: the largest of some groups of the parts that hold them all, [lines, beam, groups].
        before: what is added to all parts of a row, [lines, beam].
        counts: how many to pick, [lines].

    Returns:
        Line, row, token and sum of each pick, by line, the largest first.
    """
    most, rivals = int(counts.max()), (before[..., None] + best).reshape(len(parts), -1)
    # The largest of each group are values themselves, so the one ranked `most` is no higher than the value so
    # ranked. Few values pass this bound, and only these are added and sorted.
    bound = np.full((len(parts), 1), _LEAST)
    if most <= rivals.shape[1]:
        bound = np.maximum(np.partition(rivals, -most, axis=1)[:, -most, None], _LEAST)
    # A little lower, as float32 rounds; what passes is compared in full. No part is above 0.
    passing = bound - 1e-6 * (1.0 - bound) - before
    at = np.flatnonzero(parts >= passing[..., None].astype(parts.dtype))
    line, row, token = np.unravel_index(at, parts.shape)
    total = before[line, row] + parts[line, row, token]
    # `at` rises, and the sort is stable: ties stay in the order of rows and tokens.
    order = np.lexsort((-total, line))
    order = order[_ranks(line[order]) < counts[line[order]]]
    return line[order], row[order], token[order], total[order]


def _ranks(line: Integers) -> Integers:
    """Number the entries of each line from 0; `line` is sorted."""
    return np.arange(line.size) - np.searchsorted(line, line)


def _keep(
    kept: list[Hypothesis],
    words: Integers,
    parts: NDArray[np.float64],
    end: float,
    total: float,
    settings: Search,
) -> None:
    """File a finished hypothesis among its clip's best."""
    tokens = len(words) + 1
    score = total / tokens**settings.length_normalisation
    kept.append(Hypothesis(tuple(words.tolist()), total, score, (*parts.tolist(), end)))
    # The sort is stable: ties stay in the order in which they finished.
    kept.sort(key=lambda hypothesis: -hypothesis.score)
    del kept[settings.candidates :]


def _going(
    line: Integers,
    total: NDArray[np.float64],
    live: _Live,
    finished: list[list[Hypothesis]],
    settings: Search,
) -> Integers:
    """Return the lines in which a live hypothesis may still beat a kept one, or fill an empty place."""
    first = np.flatnonzero(_ranks(line) == 0)
    lines = line[first]
    # A log-probability only falls as words are added, and no length softens it more than the longest.
    reachable = total[first] / (settings.maximum_words + 1) ** settings.length_normalisation
    kept = [finished[clip] for clip in live.clip[lines]]
    worst = np.array([best[-1].score if len(best) == settings.candidates else -inf for best in kept])
    going: Integers = lines[reachable > worst]
    return going


def _lines(line: Integers, going: Integers) -> tuple[Integers, NDArray[np.bool_]]:
    """Lay the continuations of the lines `going` side by side.

    Returns:
        Which continuation each row is, [lines, beam], and whether the row is dead: a copy of the line's first
        that only fills it up.
    """
    first, stop = np.searchsorted(line, going), np.searchsorted(line, going, side="right")
    beam = np.arange((stop - first).max())
    dead = first[:, None] + beam >= stop[:, None]
    return np.where(dead, first[:, None], first[:, None] + beam), dead
