"""Groups of recordings → captions, by any number of processes and machines, as one would write them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial

from otoscribe.audio.sources import Recording
from otoscribe.listen.captioner import Captioner
from otoscribe.listen.results import Caption, Failure
from otoscribe.spread.backends import Backend, Lost

Results = list[Caption | Failure]
How = Callable[[Captioner, Iterable[Recording]], Iterator[Caption | Failure]]
"""`Captioner.caption_many`, and what else it is given."""


def caption_groups(
    groups: Sequence[Sequence[str]], backend: Backend, model: str | None, threads: int, how: How
) -> Iterator[Results]:
    """Caption recordings, each group by one process; results come in their order.

    Args:
        groups: paths, which mean the same file to every process. In groups of `captioner.TOGETHER`, they get
            the captions that they get in one list.
        backend: captions the groups.
        model: as for `Captioner`.
        threads: as for `Captioner`, of each process.
        how: can be pickled.

    Yields:
        What a group gives, as soon as all groups before it are there.

    Raises:
        OtoscribeError: as `how` does, or there is no such model where recordings are captioned.
    """
    ready: dict[int, Results] = {}
    awaited = 0
    work = partial(_captioned, model, threads, how)
    for (number, group), results in backend(work, list(enumerate(groups))):
        ready[number] = _failures(group, results) if isinstance(results, Lost) else results
        while awaited in ready:
            yield ready.pop(awaited)
            awaited += 1


_captioner = cache(Captioner)
"""A worker process opens a model once."""


def _captioned(model: str | None, threads: int, how: How, group: tuple[int, Sequence[str]]) -> Results:
    return list(how(_captioner(model, threads), group[1]))


def _failures(recordings: Sequence[str], lost: Lost) -> Results:
    return [Failure(file, f"{file} got no caption. {lost.reason.rstrip('.')}.") for file in recordings]
