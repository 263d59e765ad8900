"""Names of recordings → which reference a candidate is about, whatever folder each table calls its own."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from otoscribe.errors import TableError

Parts = tuple[str, ...]
"""A path: its folders, and the name of the file last."""

ENDINGS = frozenset(
    (
        *("3gp", "aac", "aif", "aifc", "aiff", "amr", "au", "caf", "flac", "m4a", "mka", "mkv", "mov"),
        *("mp3", "mp4", "oga", "ogg", "opus", "w64", "wav", "wave", "webm", "wma"),
    )
)
"""Endings of files with sound. No others count for nothing: `take.1` and `take.2` are two recordings."""

YOUTUBE = re.compile(r"Y?([\w-]{11})(?:_([0-9]{1,9}(?:\.[0-9]+)?)(?:_[0-9]{1,9}(?:\.[0-9]+)?)?)?", re.ASCII)
"""How files of YouTube clips are named: by the id, which has eleven characters, and by start and end."""


def match(
    candidates: Iterable[str], references: Iterable[str], starts: Mapping[str, float] | None = None
) -> dict[str, str]:
    """Find the reference that each candidate is about.

    A name matches whole, or else if it is the end of the other, part by part; the longest such end counts.
    What is left matches likewise without the ending of the file (`a.flac` for `a.wav`), and if nothing did,
    by the longest common end, if all names differ by the same folders before it. Slashes lean both ways,
    `./` in front counts for nothing, and so does how Unicode composes a letter.

    Args:
        candidates: names as the captioner gave them.
        references: names as the references have them.
        starts: seconds at which a reference's clip begins, by name, for names that are ids of YouTube:
            `<id>`, `Y<id>`, `<id>_<start>` and `<id>_<start>_<end>`, in seconds or milliseconds, are about
            it, also with an ending.

    Returns:
        The reference by candidate, in the order of the candidates. Candidates about no reference are not
        in it.

    Raises:
        TableError: two references have one name, a candidate may be about two references, or two
            candidates are about one.
    """
    starts = starts or {}
    given = {name: parts_of(name) for name in candidates}
    known = {name: parts_of(name) for name in references}
    _check_distinct(known)
    spellings = [
        (given, known),
        (
            {name: (*parts[:-1], _youtube_id(_stem(parts[-1]), starts)) for name, parts in given.items()},
            {name: (*parts[:-1], _stem(parts[-1])) for name, parts in known.items()},
        ),
    ]
    found: dict[str, str] = {}
    for ours, theirs in spellings:
        found |= _by_end(_but(ours, found.keys()), _but(theirs, found.values()))
    for ours, theirs in spellings:
        found = found or _by_moved_folder(ours, theirs)
    return {name: found[name] for name in given if name in found}


def parts_of(name: str) -> Parts:
    """Split a path where either kind of slash is; it may come from another system than this one."""
    composed = unicodedata.normalize("NFC", name)
    return tuple(part for part in re.split(r"[/\\]", composed) if part not in ("", ".")) or (composed,)


def some(names: Sequence[str]) -> str:
    """List names, but no end of them."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(repr, names[:3])) + more


def _stem(file: str) -> str:
    stem, _, ending = file.rpartition(".")
    return stem if stem and ending.lower() in ENDINGS else file


def _but(names: Mapping[str, Parts], taken: Iterable[str]) -> dict[str, Parts]:
    without = set(taken)
    return {name: parts for name, parts in names.items() if name not in without}


def _youtube_id(stem: str, starts: Mapping[str, float]) -> str:
    """Return the id that a file is named by, if it is known and begins where the file does."""
    named = YOUTUBE.fullmatch(stem)
    if named is None or named[1] not in starts:
        return stem
    start = starts[named[1]]
    return named[1] if named[2] is None or float(named[2]) in (start, 1000 * start) else stem


def _check_distinct(known: Mapping[str, Parts]) -> None:
    first: dict[Parts, str] = {}
    for name, parts in known.items():
        if first.setdefault(parts, name) != name:
            raise TableError(
                f"The references {first[parts]!r} and {name!r} are one name, written in two ways; keep one."
            )


def _by_end(given: Mapping[str, Parts], known: Mapping[str, Parts]) -> dict[str, str]:
    """Match names of which one is the end of the other, or all of it."""
    ends = _ends(known)
    found: dict[str, str] = {}
    for name, parts in given.items():
        near, length = _longest(parts, ends)
        whole = [other for other in near if len(known[other]) == length]
        # Else both have more folders, which differ.
        about = whole or (near if length == len(parts) else [])
        if len(about) > 1:
            raise TableError(
                f"The candidate {name!r} may be about {about[0]!r} or {about[1]!r}; write more of its path."
            )
        if about:
            found[name] = about[0]
    _check_one_each(found)
    return found


def _by_moved_folder(given: Mapping[str, Parts], known: Mapping[str, Parts]) -> dict[str, str]:
    """Match names that differ at the beginning, if all differ by the same folders."""
    ends = _ends(known)
    found: dict[str, str] = {}
    moves: set[tuple[Parts, Parts]] = set()
    for name, parts in given.items():
        near, length = _longest(parts, ends)
        for other in near:
            found[name] = other
            moves.add((parts[:-length], known[other][:-length]))
        if len(near) > 1 or len(moves) > 1:
            return {}
    _check_one_each(found)
    return found


def _ends(known: Mapping[str, Parts]) -> dict[Parts, list[str]]:
    """Return which names have each end."""
    ends: dict[Parts, list[str]] = defaultdict(list)
    for name, parts in known.items():
        for start in range(len(parts)):
            ends[parts[start:]].append(name)
    return ends


def _longest(parts: Parts, ends: Mapping[Parts, list[str]]) -> tuple[list[str], int]:
    """Return which names have the longest end in common with a path, and how many parts it has."""
    for start in range(len(parts)):
        if parts[start:] in ends:
            return ends[parts[start:]], len(parts) - start
    return [], 0


def _check_one_each(found: Mapping[str, str]) -> None:
    first: dict[str, str] = {}
    for name, about in found.items():
        if first.setdefault(about, name) != name:
            raise TableError(
                f"The candidates {first[about]!r} and {name!r} are both about the reference {about!r}; "
                "keep one."
            )
