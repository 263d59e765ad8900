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
        line, row, token, total = _continuations(log_probabilities, live, rules)
        ended = token == END
        for at in np.flatnonzero(ended):
            words = live.history[line[at], row[at], 1:]
            parts = live.token_log_probabilities[line[at], row[at]]
            last = float(log_probabilities[line[at], row[at], END])
            _keep(finished[live.clip[line[at]]], words, parts, last, float(total[at]), settings)
        slots = live.slots - np.bincount(line[ended], minlength=live.clip.size)
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
    log_probabilities: Floats, live: _Live, rules: Sequence[Rule]
) -> tuple[Integers, Integers, Integers, NDArray[np.float64]]:
    """Return line, row, token and total log-probability of what wins the slots, by line, best first."""
    total = live.log_probability[..., None] + log_probabilities  # [lines, beam, vocabulary]
    end = total[..., END].copy()
    for rule in rules:
        rule.apply(total, live.history)
    best = total.max(axis=-1)
    if np.isnan(best).any() or np.isnan(end).any():
        raise BundleError(
            f"The model's log-probabilities after {live.history.shape[-1] - 1} words are not numbers (NaN): "
            f"its weights are damaged. Export or copy the model again."
        )
    # What no word may continue ends: at the maximum, and where the other rules leave nothing.
    total[..., END] = np.where(best == -inf, end, total[..., END])
    lines, width, vocabulary = total.shape
    line, place, value = _largest(total.reshape(lines, width * vocabulary), live.slots)
    return line, place // vocabulary, place % vocabulary, value


def _largest(values: NDArray[np.float64], counts: Integers) -> tuple[Integers, Integers, NDArray[np.float64]]:
    """Pick each line's `counts` largest values above -inf, ties to the earlier place.

    Args:
        values: [lines, places].
        counts: how many to pick, [lines].

    Returns:
        Line, place and value of each pick, by line, the largest first.
    """
    lines, places = values.shape
    most = min(int(counts.max()), places)
    # The maxima of any groups are themselves values, so the one ranked `most` is no higher than the value so
    # ranked. That leaves little to partition; few values pass this bound, and ties at it are settled below.
    stride = max(1, min(places // most, int(places**0.5)))
    grouped = values[:, : places // stride * stride].reshape(lines, stride, -1).max(axis=1)
    bound = np.partition(grouped, -most, axis=1)[:, -most, None]
    line, place = np.divmod(np.flatnonzero(values >= np.maximum(bound, np.finfo(values.dtype).min)), places)
    picked = values[line, place]
    order = np.lexsort((place, -picked, line))
    line, place, picked = line[order], place[order], picked[order]
    inside = _ranks(line) < counts[line]
    return line[inside], place[inside], picked[inside]


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
    lines, first = np.unique(line, return_index=True)
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
