"""Jobs on a Ray cluster whose machines see the same folders: lost machines' jobs are done by others."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from otoscribe.errors import RunError
from otoscribe.study.engine.backends import Backend
from otoscribe.study.engine.state import State
from otoscribe.study.engine.work import Job, Outcome, Shared, work

RETRIES = 10
"""How often a job may lose its machine or its process."""


def on_ray(address: str, threads: int, gpus: float) -> tuple[Backend, int]:
    """Connect to a cluster.

    Args:
        address: of its head, as HOST:PORT; or `auto`, the one that runs on this machine.
        threads: processors that a job needs.
        gpus: GPUs that a job needs; 0.25 lets four share one.

    Returns:
        What does jobs there, and how many at once, as the cluster is now.

    Raises:
        RunError: there is no such cluster.
    """
    import ray

    try:
        ray.init(address=address, log_to_driver=False, ignore_reinit_error=True)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise RunError(
            f"There is no Ray cluster at {address!r}. Start one (ray start --head), or name its head: "
            "--ray HOST:PORT."
        ) from error
    remote = ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=RETRIES)(_work)

    def run(jobs: Sequence[Job], shared: Shared) -> Iterator[Outcome]:
        placed = ray.put(shared)
        waiting = {remote.remote(job, placed, str(Path.cwd())): job for job in jobs}
        while waiting:
            (ready,), _ = ray.wait(list(waiting), num_returns=1)
            job = waiting.pop(ready)
            try:
                outcome: Outcome = ray.get(ready)
            except ray.exceptions.RayError as error:
                reason = str(error).strip().splitlines()[0]
                outcome = Outcome(job, State.FAILED, f"{type(error).__name__}: {reason}")
            yield outcome

    return run, max(1, int(ray.cluster_resources().get("CPU", 1)) // threads)


def _work(job: Job, shared: Shared, folder: str) -> Outcome:
    os.chdir(folder)  # in which modules of people's own are
    return work(job, shared)
