"""SPICE's own Java classes behind lines of JSON: a script that `spice.py` runs in a process of its own.

Arguments: the folder of a Java runtime, how many threads, and the entries of the class path: CoreNLP 3.6.0
with its models, and SPICE with its libraries. Questions on standard input, each answered by a line:

    {"parse": "a dog barks"}                        → [["dog", "bark"], ["dog"]], the text's tuples
    {"score": [[["dog"]], [[["cat"]], [["dog"]]]]}  → 0.6666666666666666, F1 of a text against references

or by {"error": "what Java said"}. It ends when its input does, whatever is left to do.
"""

import json
import os
import queue
import sys
import threading
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jpype

# The stock pipeline without what takes no part in SPICE's tuples: statistical name and date recognition.
# Of the three dependency graphs that the stock one builds, SPICE reads one, which `Parser` makes.
PIPELINE = {
    "annotators": "tokenize,ssplit,parse,lemma,ner",
    "parse.buildgraphs": "false",
    "ner.model": "",
    "ner.useSUTime": "false",
}
FLAGS = (
    # Out of memory at a long caption, CoreNLP would go on with a made-up parse.
    "-Xmx3g",
    "-XX:+ExitOnOutOfMemoryError",
    # The fastest of those tried: what lives is small, what dies is large.
    "-XX:+UseSerialGC",
    # Two grammar rules in a cache line.
    "-XX:+UseCompactObjectHeaders",
    "-Xms1g",
    "-Xmn600m",
    # Killed like all workers, it would leave files of this in the temporary folder.
    "-XX:-UsePerfData",
    "--enable-native-access=ALL-UNNAMED",
)
LONG = 30
"""Captions of more words are parsed one at a time, as the memory that each takes grows with their square."""
STACK = 64 << 20
"""Bytes of stack for each thread, as Java recurses along the parse tree; some systems give 512 KiB."""


class Program:
    """SPICE's parser and scorer in this process, whose Java is up."""

    def __init__(self) -> None:
        java = jpype.JClass
        self._json = java("org.json.simple.JSONValue")
        self._text = java("java.lang.String")
        self._annotation = java("edu.stanford.nlp.pipeline.Annotation")
        self._sentences = java("edu.stanford.nlp.ling.CoreAnnotations$SentencesAnnotation").class_
        self._tree = java("edu.stanford.nlp.trees.TreeCoreAnnotations$TreeAnnotation").class_
        graphs = "edu.stanford.nlp.semgraph.SemanticGraphCoreAnnotations"
        self._graph = java(f"{graphs}$CollapsedCCProcessedDependenciesAnnotation").class_
        self._graphs = java("edu.stanford.nlp.semgraph.SemanticGraphFactory")
        self._scene = java("edu.anu.spice.SceneGraph")
        self._set = java("edu.anu.spice.TupleSet")
        self._evaluation = java("edu.anu.spice.Evaluation")
        # It starts a pipeline of its own only when it is given a text, which we do not.
        self._parser = java("edu.anu.spice.SpiceParser")(None, 1, java("java.lang.Boolean").TRUE)
        self._synonyms = _field(self._parser, "synonyms")
        self._extract = self._parser.getClass().getDeclaredMethod("parseAnnotation", self._annotation.class_)
        self._extract.setAccessible(True)
        self._pipeline: Any = None
        self._starting = threading.Lock()
        # SPICE is written for one thread; only the pipeline, which takes nearly all of the time, is for many.
        self._single = threading.Lock()

    def _start(self) -> None:
        """Load the parser, which scoring alone does without."""
        with self._starting:
            if self._pipeline is None:
                properties = jpype.JClass("java.util.Properties")()
                for name, value in PIPELINE.items():
                    properties.setProperty(name, value)
                pipeline = jpype.JClass("edu.stanford.nlp.pipeline.StanfordCoreNLP")
                made = pipeline(properties)
                annotator = pipeline.getExistingAnnotator("parse")
                self._extras = _field(annotator, "extraDependencies")
                parser = _field(annotator, "parser")
                _lay_out(parser.bg)
                language = parser.getTLPParams()
                pack = language.treebankLanguagePack()
                self._structures = pack.grammaticalStructureFactory(
                    pack.punctuationWordRejectFilter(), language.typedDependencyHeadFinder()
                )
                self._pipeline = made

    def parse(self, caption: str) -> str:
        """Return the tuples of a caption, in JSON."""
        self._start()
        annotation = self._annotation(self._text(caption))
        self._pipeline.annotate(annotation)
        for sentence in annotation.get(self._sentences):
            structure = self._structures.newGrammaticalStructure(sentence.get(self._tree))
            graph = self._graphs.generateCCProcessedDependencies(structure, self._extras)
            sentence.set(self._graph, graph)
        with self._single:
            return str(
                self._json.toJSONString(_field(self._extract.invoke(self._parser, annotation), "tuples"))
            )

    def score(self, candidate: list[Any], references: list[Any]) -> str:
        """Return the F1 of a candidate's tuples against those of all its references."""
        with self._single:
            texts = [self._tuples([candidate]), self._tuples(references)]
            return repr(float(self._evaluation(*texts, False, True).f))

    def _tuples(self, texts: list[Any]) -> Any:
        """Return the merged tuples of all the texts."""
        scene = self._scene(self._synonyms, True)
        for text in texts:
            for one in self._json.parse(json.dumps(text)):
                scene.addTuple(one)
        return self._set(scene)


def _field(owner: Any, name: str) -> Any:
    """Return a field that Java keeps to itself."""
    field = owner.getClass().getDeclaredField(name)
    field.setAccessible(True)
    return field.get(owner)


def _lay_out(grammar: Any) -> None:
    """Put the rules that the chart search reads one after the other next to each other in memory.

    The search waits for memory more than it computes. Loaded as they are, the rules lie among much else;
    equal copies, made in the order of reading, save a fifth of a parse. The search takes maxima and never
    asks which object a rule is.
    """
    rule = jpype.JClass("edu.stanford.nlp.parser.lexparser.BinaryRule")
    for name in ("splitRulesWithLC", "splitRulesWithRC"):
        for row in _field(grammar, name):
            for place, old in enumerate(row):
                row[place] = rule(old.parent(), old.leftChild, old.rightChild, float(old.score()))


def answer(spice: "Future[Program]", question: dict[str, Any]) -> str:
    """Answer one question."""
    try:
        if "parse" in question:
            return spice.result().parse(question["parse"])
        return spice.result().score(*question["score"])
    except jpype.JException as error:
        return json.dumps({"error": str(error)})


def main(home: str, threads: str, *classpath: str) -> None:
    """Answer all lines, in their order."""
    # What Java prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    os.environ["JAVA_HOME"] = home
    jpype.startJVM(jpype.getDefaultJVMPath(), *FLAGS, classpath=list(classpath), convertStrings=False)
    threading.stack_size(STACK)
    pending: queue.SimpleQueue[Future[str]] = queue.SimpleQueue()

    def write() -> None:
        try:
            while True:
                print(pending.get().result(), file=answers, flush=True)
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    threading.Thread(target=write, daemon=True).start()
    spice = ThreadPoolExecutor(1).submit(Program)
    pool, long = ThreadPoolExecutor(int(threads)), ThreadPoolExecutor(1)
    for line in sys.stdin.buffer:
        question = json.loads(line)
        executor = long if len(question.get("parse", "").split()) > LONG else pool
        pending.put(executor.submit(answer, spice, question))
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
