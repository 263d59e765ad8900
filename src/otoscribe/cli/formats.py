"""How results are written: lines for people, JSON and CSV for programs, as the results come."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from otoscribe.cli.terminal import printable
from otoscribe.listen.results import Candidate, Caption, Failure

Result = Caption | Failure
Form = Callable[[Iterable[Result]], Iterator[str]]

COLUMNS = ("file", "caption", "log_probability", "confidence", "seconds", "rank", "error")
"""Of the CSV form; the first three are fixed, more may follow at the end."""


def as_text(several: bool) -> Form:
    """Make lines for people: `FILE: caption  (confidence 63 %)`, the name only if there are several."""

    def lines(results: Iterable[Result]) -> Iterator[str]:
        for result in results:
            if isinstance(result, Failure):
                continue  # standard error has it
            name = printable(f"{result.file}:") if several else ""
            scored = [
                f"{one.caption}  (confidence {100 * one.confidence:.0f} %)" for one in result.candidates
            ]
            if len(scored) == 1:
                yield f"{name} {scored[0]}\n".lstrip()
            else:
                indent = "  " if several else ""
                ranked = [f"{indent}{rank}. {line}" for rank, line in enumerate(scored, 1)]
                yield "\n".join([name] * several + ranked) + "\n"

    return lines


def as_json(results: Iterable[Result]) -> Iterator[str]:
    """Make one array that grows as results come; ASCII, so that every terminal and file name survives."""
    before = "["
    for result in results:
        if isinstance(result, Failure):
            entry: dict[str, Any] = {"file": result.file, "error": result.message}
        else:
            ranked = [_scores(candidate) for candidate in result.candidates]
            for candidate, scores in zip(result.candidates, ranked, strict=True):
                scores["words"] = [
                    {"word": word, "probability": round(probability, 6)}
                    for word, probability in candidate.words
                ]
            best = _scores(result.candidates[0])
            entry = {"file": result.file, **best, "seconds": round(result.seconds, 3), "candidates": ranked}
        yield f"{before}\n{json.dumps(entry)}"
        before = ","
    yield "\n]\n"


def as_csv(results: Iterable[Result]) -> Iterator[str]:
    """Make a row per candidate, and one per recording that has none."""
    yield _row(COLUMNS)
    for result in results:
        if isinstance(result, Failure):
            yield _row((result.file, *[""] * (len(COLUMNS) - 2), result.message))
            continue
        for rank, candidate in enumerate(result.candidates, 1):
            yield _row((result.file, *_scores(candidate).values(), round(result.seconds, 3), rank, ""))


def _row(values: Iterable[Any]) -> str:
    line = io.StringIO(newline="")
    csv.writer(line).writerow(values)  # quotes as needed, ends with \r\n
    return line.getvalue()


def _scores(candidate: Candidate) -> dict[str, Any]:
    return {
        "caption": candidate.caption,
        "log_probability": round(candidate.log_probability, 6),
        "confidence": round(candidate.confidence, 6),
    }
