"""The rows of the bench, each measured in a process of its own: none finds memory or threads of another."""

import os
from concurrent.futures import ProcessPoolExecutor
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
ALSO_ON_ONE_CORE = ("yamnet",)


def measured(row: str, threads: int, quick: bool) -> list[Result]:
    """Return the results of a row; in a process that is told the threads before it loads a library."""
    results = []
    for result in import_module(f"bench.{row}").results(threads, quick):
        low, high = result.spread
        what = f"{result.work}, {result.setting}"
        print(f"  {what}: {result.ratio:.2f} x {result.peer} ({low:.2f} to {high:.2f})", flush=True)
        results.append(result)
    return results


def in_own_process(row: str, threads: int, quick: bool) -> list[Result]:
    """Return the results of a row, measured with so many threads."""
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = str(threads)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(measured, row, threads, quick).result()
