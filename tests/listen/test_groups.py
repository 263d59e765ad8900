"""Groups of recordings, each captioned by whichever process: what one list of all of them gives."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest

from otoscribe.cli.formats import as_jsonl
from otoscribe.errors import UsageError
from otoscribe.listen import captioner as module
from otoscribe.listen import groups
from otoscribe.listen.captioner import Captioner
from otoscribe.listen.groups import caption_groups
from otoscribe.listen.results import Failure
from otoscribe.spread.backends import Lost, in_processes, in_this_process
from otoscribe.spread.shard import grouped
from support.recordings import noise, write
from support.tiny_bundle import SAMPLE_RATE, write_tiny_bundle

GROUP = 3


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny"))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return recordings of one and of two channels, broken ones, and one that is not there."""
    folder = tmp_path_factory.mktemp("recordings")
    files = [folder / f"{number:02}.wav" for number in range(11)]
    for number, file in enumerate(files):
        write(file, noise(1 + number % 4, SAMPLE_RATE, 1 + number % 2, seed=number), SAMPLE_RATE)
    for number in (1, 4, 5):
        files[number].write_text("no recording")
    return [*map(str, files), "missing.wav", str(files[0]), str(files[0])]


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOGETHER", GROUP)
    groups._captioner.cache_clear()


@pytest.mark.parametrize("channel", [None, "each"])
@pytest.mark.parametrize("backend", [in_this_process, in_processes(2)])
def test_processes_give_what_one_gives(
    tiny: str, recordings: list[str], backend: Any, channel: str | None
) -> None:
    how = partial(Captioner.caption_many, channel=channel, candidates=2)
    alone = list(how(Captioner(tiny, 1), recordings))
    found = list(caption_groups(grouped(recordings, GROUP), backend, tiny, 1, how))
    assert len(found) == 5
    assert list(as_jsonl(result for results in found for result in results)) == list(as_jsonl(alone))
    assert sum(isinstance(result, Failure) for result in alone) == 4


def test_the_same_recordings_are_decoded_together(
    tiny: str, recordings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[list[float]] = []
    decode = Captioner.decode

    def counted(self: Captioner, clips: Sequence[Any], *rest: Any) -> Any:
        decoded.append([clip.seconds for clip in clips])
        return decode(self, clips, *rest)

    monkeypatch.setattr(Captioner, "decode", counted)
    list(Captioner(tiny, 1).caption_many(recordings))
    alone, decoded[:] = decoded[:], []
    list(caption_groups(grouped(recordings, GROUP), in_this_process, tiny, 1, Captioner.caption_many))
    assert decoded == alone
    assert max(map(len, alone)) == GROUP


def test_results_wait_for_those_before_them_and_a_model_is_opened_once(
    tiny: str, recordings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def backwards(work: Callable[[Any], Any], things: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        return in_this_process(work, things[::-1])

    opened = []
    monkeypatch.setattr(Captioner, "__init__", spied(Captioner.__init__, opened))
    found = caption_groups(grouped(recordings, GROUP), backwards, tiny, 1, Captioner.caption_many)
    assert [result.file for results in found for result in results] == recordings
    assert len(opened) == 1


def spied(function: Callable[..., None], calls: list[object]) -> Callable[..., None]:
    def called(*arguments: object) -> None:
        calls.append(arguments)
        function(*arguments)

    return called


def test_recordings_of_a_group_that_is_lost_have_failed(tiny: str, recordings: list[str]) -> None:
    def lossy(work: Callable[[Any], Any], things: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        for thing, result in in_this_process(work, things):
            yield thing, Lost("NodeDiedError: it burned") if thing[0] == 1 else result

    files = recordings[6:12]
    found = list(caption_groups(grouped(files, GROUP), lossy, tiny, 1, Captioner.caption_many))
    assert found[1] == [Failure(f, f"{f} got no caption. NodeDiedError: it burned.") for f in files[3:]]
    assert not any(isinstance(result, Failure) for result in found[0])


@pytest.mark.parametrize("backend", [in_this_process, in_processes(2)])
def test_misuse_is_misuse_there_too(tiny: str, recordings: list[str], backend: Any) -> None:
    how = partial(Captioner.caption_many, beam=0)
    with pytest.raises(UsageError, match="beam must be"):
        list(caption_groups(grouped(recordings, GROUP), backend, tiny, 1, how))
