"""Things → results on a Ray cluster whose machines see the same folders: what a lost one left, others do."""

import math
import os
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from otoscribe.errors import ClusterWarning, OtoscribeError, RunError, UsageError
from otoscribe.spread.backends import Backend, Lost, Result, Thing

RETRIES = 10
"""How often a thing may lose its machine or its process."""

PATIENCE = 10.0
"""Seconds in which the head of a cluster has to answer."""

WATCHED = 1000
"""Things of which one is waited for, the first ones: Ray looks at each of them every time."""


def on_ray(address: str, threads: int, gpus: float = 0.0) -> tuple[Backend, int]:
    """Connect to a cluster.

    Args:
        address: of its head, as HOST:PORT; or `auto`, the one that runs on this machine.
        threads: processors that a thing needs.
        gpus: GPUs that a thing needs; 0.25 lets four share one.

    Returns:
        What does things there, and how many at once, as the cluster is now. A `ClusterWarning` says if no
        machine of it has what a thing needs, so that things wait until one joins.

    Raises:
        UsageError: no process can have so many GPUs.
        RunError: there is no such cluster.
    """
    import ray

    if not math.isfinite(gpus) or (gpus > 1 and gpus % 1) or round(gpus, 4) != gpus:
        raise UsageError(
            f"A process cannot have {gpus:g} GPUs. Take a whole number of them, or a part of one with up to "
            "four decimals: --gpus 0.25."
        )

    try:
        if address != "auto":
            _knock(address)
        ray.init(address=address, log_to_driver=False, ignore_reinit_error=True)
    except (OSError, OverflowError, ValueError, RuntimeError) as error:
        raise RunError(
            f"There is no Ray cluster at {address!r}. Start one (ray start --head), or name its head: "
            "--ray HOST:PORT."
        ) from error
    machines = [machine["Resources"] for machine in ray.nodes() if machine["Alive"]]
    if not any(has.get("CPU", 0) >= threads and has.get("GPU", 0) >= gpus for has in machines):
        taken = f"--threads {threads}" + (f", --gpus {gpus:g}" if gpus else "")
        warnings.warn(
            f"No machine of the Ray cluster has what a process takes ({taken}), so nothing is done before "
            "one joins that has.",
            ClusterWarning,
            2,
        )
    remote = ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=RETRIES)(_do)

    def run(
        work: Callable[[Thing], Result], things: Sequence[Thing]
    ) -> Iterator[tuple[Thing, Result | Lost]]:
        placed = ray.put(work)
        waiting = {remote.remote(placed, thing, str(Path.cwd())): thing for thing in things}
        while waiting:
            (ready,), _ = ray.wait(list(islice(waiting, WATCHED)))
            thing = waiting.pop(ready)
            result: Result | Lost
            try:
                result = ray.get(ready)
            except ray.exceptions.RayError as error:
                cause = getattr(error, "cause", None)
                if isinstance(cause, OtoscribeError):
                    raise cause from error
                # What the work itself raised says more than Ray's words around it.
                known = cause if isinstance(cause, Exception) else error
                reason = (str(known).strip().splitlines() or [""])[0]
                result = Lost(f"{type(known).__name__}: {reason}")
            yield thing, result

    return run, max(1, int(ray.cluster_resources().get("CPU", 1)) // threads)


def _knock(address: str) -> None:
    """Raise what there is to raise if nobody answers: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()


def _do(work: Callable[[Thing], Result], thing: Thing, folder: str) -> Result:
    os.chdir(folder)  # in which modules of people's own are, and which names of files are relative to
    return work(thing)
