"""Captions by a Ray cluster of three nodes, one of which is killed midway, are what one process writes."""

import os
import sys
from functools import partial
from itertools import chain
from pathlib import Path
from types import ModuleType

import pytest

from otoscribe.cli.formats import as_csv, as_jsonl
from otoscribe.errors import AudioError, RunError
from otoscribe.listen.captioner import Captioner
from otoscribe.listen.groups import caption_groups
from otoscribe.spread.ray_cluster import on_ray
from otoscribe.spread.shard import grouped
from support.recordings import noise, write
from support.spread_work import held, refused
from support.three_nodes import needs_ray, three_nodes
from support.tiny_bundle import SAMPLE_RATE, write_tiny_bundle

GROUP = 2


@pytest.mark.parametrize("address", ["nowhere.invalid:1", "127.0.0.1:1", "x", "", "x:y", "127.0.0.1:99999"])
def test_a_cluster_that_is_not_there_is_not_waited_for(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))  # which would be asked in vain
    with pytest.raises(RunError, match=rf"There is no Ray cluster at '{address}'. Start one .ray start"):
        on_ray(address, 1)


@needs_ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Ray's own
def test_a_node_is_lost_and_no_caption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    model = str(write_tiny_bundle(tmp_path / "tiny"))
    monkeypatch.chdir(tmp_path)
    files = [f"{number:02}.wav" for number in range(24)]
    for number, file in enumerate(files):
        write(Path(file), noise(1 + number % 5, SAMPLE_RATE, seed=number), SAMPLE_RATE)
    Path(files[9]).write_text("no recording")
    monkeypatch.setattr("otoscribe.listen.captioner.TOGETHER", GROUP)
    alone = list(Captioner(model, 1).caption_many(files))
    os.mkfifo("begun")
    pipe = os.open("begun", os.O_RDWR)
    with three_nodes() as (address, lose), Path("lock").open("wb") as lock:
        backend, workers = on_ray(address, 1)
        assert workers == 3
        fcntl.flock(lock, fcntl.LOCK_EX)
        how = partial(held, tmp_path, files[3 * GROUP])
        results = caption_groups(grouped(files, GROUP), backend, model, 1, how)
        found = next(results)
        begun = sum(
            len(os.read(pipe, 1)) for _ in range(6)
        )  # three groups are done, and all nodes in another
        assert lose() == 2
        fcntl.flock(lock, fcntl.LOCK_UN)
        found += chain.from_iterable(results)
        begun += len(os.read(pipe, 100))
        assert begun == len(files) / GROUP + 1
        with pytest.raises(AudioError, match="1 is no recording"):
            list(backend(refused, [1]))
    os.close(pipe)
    for form in (as_csv, as_jsonl):
        assert list(form(found)) == list(form(alone))
