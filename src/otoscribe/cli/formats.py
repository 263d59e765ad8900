"""How results are written, as they come: lines for people; JSON, JSON Lines and CSV for programs."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from otoscribe.cli.options import Format
from otoscribe.cli.terminal import printable
from otoscribe.listen.results import Candidate, Caption, Failure

Result = Caption | Failure
Form = Callable[[Iterable[Result]], Iterator[str]]

COLUMNS = ("file", "caption", "log_probability", "confidence", "seconds", "rank", "error", "channel", "notes")
"""Of the CSV form; the first three are fixed, more may follow at the end."""


def form_of(chosen: Format, several: bool) -> Form:
    """Return what turns results into text, of `several` recordings or of one."""
    text = as_text(several)
    return {Format.TEXT: text, Format.JSON: as_json, Format.JSONL: as_jsonl, Format.CSV: as_csv}[chosen]


def as_text(several: bool) -> Form:
    """Make lines for people: `FILE: caption  (confidence 63 %)`, the name only if there are several."""

    def lines(results: Iterable[Result]) -> Iterator[str]:
        for result in results:
            if isinstance(result, Failure):
                continue  # standard error has it
            name = printable(f"{_named(result)}:") if several or result.channel else ""
            scored = [
                f"{one.caption}  (confidence {100 * one.confidence:.0f} %)" for one in result.candidates
            ]
            if len(scored) == 1:
                yield f"{name} {scored[0]}\n" if name else f"{scored[0]}\n"
            else:
                indent = "  " if name else ""
                ranked = [f"{indent}{rank}. {line}" for rank, line in enumerate(scored, 1)]
                yield "\n".join([name] * bool(name) + ranked) + "\n"

    return lines


def as_json(results: Iterable[Result]) -> Iterator[str]:
    """Make one array that grows as results come."""
    before = "["
    for result in results:
        yield f"{before}\n{_object(result)}"
        before = ","
    yield "\n]\n" if before == "," else "[]\n"


def as_jsonl(results: Iterable[Result]) -> Iterator[str]:
    """Make a line for each recording: an object, the same as in the array."""
    for result in results:
        yield f"{_object(result)}\n"


def as_csv(results: Iterable[Result]) -> Iterator[str]:
    """Make a row per candidate, and one per recording that has none."""
    yield _row(COLUMNS)
    for result in results:
        if isinstance(result, Failure):
            yield _row((result.file, "", "", "", "", "", result.message, "", ""))
            continue
        notes = "; ".join(result.notes)
        for rank, candidate in enumerate(result.candidates, 1):
            scores, seconds = _scores(candidate).values(), round(result.seconds, 3)
            yield _row((result.file, *scores, seconds, rank, "", result.channel, notes))


def _named(result: Caption) -> str:
    return f"{result.file}, channel {result.channel}" if result.channel else str(result.file)


def _object(result: Result) -> str:
    """Return JSON in ASCII, so that every terminal and file name survives."""
    if isinstance(result, Failure):
        return json.dumps({"file": result.file, "error": result.message})
    ranked = [
        {
            **_scores(candidate),
            "words": [{"word": word, "probability": round(part, 6)} for word, part in candidate.words],
        }
        for candidate in result.candidates
    ]
    best = _scores(result.candidates[0])
    seconds = round(result.seconds, 3)
    # The channel only where one was heard: who hears all need not ask what null means.
    channel = {} if result.channel is None else {"channel": result.channel}
    notes = list(result.notes)
    return json.dumps(
        {"file": result.file, **channel, **best, "seconds": seconds, "notes": notes, "candidates": ranked}
    )


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
