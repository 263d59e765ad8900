"""Captions by a Ray cluster of three nodes, one of which is killed midway, are what one process writes."""

import math
import os
import sys
import warnings
from functools import partial
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from otoscribe.cli.formats import as_csv, as_jsonl
from otoscribe.errors import AudioError, RunError, UsageError
from otoscribe.listen.captioner import Captioner
from otoscribe.listen.groups import caption_groups
from otoscribe.spread.backends import Lost
from otoscribe.spread.ray_cluster import on_ray
from otoscribe.spread.shard import grouped
from support.recordings import noise, write
from support.spread_work import broken, held, refused
from support.three_nodes import needs_ray, three_nodes
from support.tiny_bundle import SAMPLE_RATE, write_tiny_bundle

GROUP = 2


@pytest.mark.parametrize("address", ["nowhere.invalid:1", "127.0.0.1:1", "x", "", "x:y", "127.0.0.1:99999"])
def test_a_cluster_that_is_not_there_is_not_waited_for(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))  # which would be asked in vain
    with pytest.raises(RunError, match=rf"There is no Ray cluster at '{address}'. Start one .ray start"):
        on_ray(address, 1)


@pytest.mark.parametrize("gpus", [1.5, 0.00001, 0.12345, math.inf, math.nan])
def test_gpus_that_no_process_can_have_are_refused(gpus: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    with pytest.raises(UsageError, match=rf"A process cannot have {gpus:g} GPUs\. Take a whole number"):
        on_ray("auto", 1, gpus)


@pytest.mark.parametrize(
    ("threads", "gpus", "waits"),
    [(4, 0.0, False), (5, 0.0, True), (2, 0.5, False), (3, 0.5, True), (1, 2.0, True)],
)
def test_what_no_machine_of_a_cluster_has_is_said(
    threads: int, gpus: float, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray: Any = ModuleType("ray")
    ray.init = lambda **options: None
    ray.remote = lambda **options: lambda do: do
    resources = [{"CPU": 4.0}, {"CPU": 2.0, "GPU": 1.0}, {"node": 1.0}]
    ray.nodes = lambda: [
        *({"Alive": True, "Resources": has} for has in resources),
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    ]
    ray.cluster_resources = lambda: {"CPU": 6.0}
    monkeypatch.setitem(sys.modules, "ray", ray)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        _, workers = on_ray("auto", threads, gpus)
    assert workers == 6 // threads
    assert [str(one.message) for one in said] == waits * [
        f"No machine of the Ray cluster has what a process takes (--threads {threads}"
        + (f", --gpus {gpus:g}" if gpus else "")
        + "), so nothing is done before one joins that has."
    ]


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
        assert list(backend(broken, [1])) == [(1, Lost("ValueError: 1 is odd"))]
    os.close(pipe)
    for form in (as_csv, as_jsonl):
        assert list(form(found)) == list(form(alone))
