"""The rows of the bench, each measured in a process of its own: none finds memory or threads of another."""

import os
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module
from multiprocessing import get_context

from bench.compare import Result

ROWS = {
    "training": "a training step",
    "decoding": "memory to caption",
    "yamnet": "audio to embeddings",
    "cold_start": "shell to caption",
    "folder": "many recordings to a table of captions",
    "store": "random reads of stored embeddings",
    "prefixes": "BERT's states of every beginning of captions",
    "memory": "peak memory of captioning long recordings",
    "score": "scores of captions",
    "vectors": "reading word vectors",
}
ALSO_ON_ONE_CORE = ("yamnet", "folder")


def measured(row: str, threads: int, quick: bool) -> tuple[list[Result], str | None]:
    """Measure a row, in a process that is told the threads before it loads a library.

    Returns:
        The results, and what stopped the row before its end, if anything did.
    """
    results = []
    try:
        for result in import_module(f"bench.{row}").results(threads, quick):
            low, high = result.spread
            what = f"{result.work}, {result.setting}"
            print(f"  {what}: {result.ratio:.2f} x {result.peer} ({low:.2f} to {high:.2f})", flush=True)
            results.append(result)
    # A row that gives a wrong result, or lacks a file, does not take the others along.
    except (Exception, SystemExit) as error:
        first, *_ = [*str(error).strip().splitlines(), ""]
        return results, f"{row}: {type(error).__name__}: {first}"
    return results, None


def in_own_process(row: str, threads: int, quick: bool) -> tuple[list[Result], str | None]:
    """Return what `measured` does, with so many threads."""
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = str(threads)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        try:
            return pool.submit(measured, row, threads, quick).result()
        except BrokenProcessPool:
            return [], f"{row}: its process was ended, as it happens when memory runs out"
