"""Data flows one way: a module imports from stages before it, and listening needs nothing of learning."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "otoscribe"

# Every file of the package, in the order in which data flows.
ROOMS = {
    "": "version errors settings registry files processors progress",
    "fetch": "remote published assets archives collection",
    "audio": "notes sources waveform headers ogg joined chunks tally ffmpeg unreadable sndfile decoding"
    " levels channels pieces reading",
    "text": "vocabulary phrase_book names layout json_rows rows tables",
    "datasets": "folder freesound zenodo",
    "datasets.corpora": "base clotho clotho_v1 audiocaps macs wavcaps",
    "datasets ": "check",
    "search": "options stepper rules beam",
    "bundle": "graphs manifest session bundle onnx_stepper",
    "spread": "shard backends ray_cluster",
    "listen": "results batching pool support grounded hearing captioner folders groups",
    "metrics": "tokenizer ngrams bleu rouge cider statistics",
    "metrics.java": "runtime worker answers meteor spice_files spice_worker spice",
    "metrics.fense": "networks fense",
    "metrics ": "evaluation scorer __init__",
    "model": "windows spectrogram feature_extractors pitch packing attention bert",
    "model.weights": "formula tflite coala_scaler keras_h5 torch_file tf_checkpoint yamnet_files",
    "model.encoders": "base aisfx coala huggingface openl3 vggish yamnet yamnet_voice",
    "model.adapters": "base identity mlp attention evidence",
    "model.vectors": "opened word2vec glove fasttext bert_folder published",
    "model.words": "base random cbow word2vec glove fasttext bert",
    "model ": "contract cross_entropy decoder caption_model torch_stepper",
    "train": "shards store settings batches waveforms run coverage history monitor prefixes"
    " trainer embed embed_groups upkeep experiment evaluate few_bits export",
    "study": "scores",
    "study.metrics": "base",
    "study ": "statistics published figures findings wording page sections report",
    "study.engine": "settings grid known state object_store results work opened scoring timing plan runner"
    " reported",
    "cli": "terminal options output formats caption score get encoders data embed store train evaluate"
    " export",
    "cli.study": "text options plan run report app",
    "cli ": "main",
    " ": "__main__",
}
STAGES = [
    f"{room.strip()}.{name}".strip(".").removesuffix(".__init__")
    for room, names in ROOMS.items()
    for name in names.split()
]

# What the listening half may import only inside a function that needs it, if at all.
LEARNING = (
    *("torch", "h5py", "onnx", "onnxscript", "scipy", "safetensors", "flatbuffers", "gensim", "tokenizers"),
    *("transformers", "matplotlib", "jinja2", "filelock", "fsspec", "ray"),
    *("otoscribe.model", "otoscribe.train", "otoscribe.study.engine"),
)


def within(name: str, ancestor: str) -> bool:
    return name == ancestor or name.startswith(ancestor + ".")


def modules_of(package: Path) -> dict[str, Path]:
    """Return the package's files by module name, without the package's own: "model.words.random"."""
    found = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


class Imports(ast.NodeVisitor):
    """Collects every import: its module, the names taken from it, and whether importing the file runs it."""

    def __init__(self, tree: ast.Module) -> None:
        self.found: list[tuple[str, list[str], bool]] = []
        self.at_import = True
        self.visit(tree)

    def visit_Import(self, node: ast.Import) -> None:
        self.found.extend((alias.name, [], self.at_import) for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        source = "." * node.level + (node.module or "")
        self.found.append((source, [alias.name for alias in node.names], self.at_import))

    def later(self, nodes: list[ast.stmt]) -> None:
        before, self.at_import = self.at_import, False
        for node in nodes:
            self.visit(node)
        self.at_import = before

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.later(node.body)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.later(node.body)

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) == "TYPE_CHECKING":
            self.later(node.body)
            for other in node.orelse:
                self.visit(other)
        else:
            self.generic_visit(node)


# Texts are read once for all the tests that differ in another file.
@cache
def imports_of(text: str) -> list[tuple[str, list[str], bool]]:
    return Imports(ast.parse(text)).found


@cache
def is_a_docstring(text: str) -> bool:
    """Tell whether a file holds a docstring and nothing else, as the `__init__.py` of a room does."""
    body = ast.parse(text).body
    return len(body) == 1 and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)


def problems_of(package: Path) -> list[str]:
    modules = modules_of(package)
    problems = [f"ROOMS lists {stage}, which does not exist" for stage in STAGES if stage not in modules]
    for module, path in sorted(modules.items()):
        if module and module not in STAGES:
            if path.name != "__init__.py":
                problems.append(f"{module} is missing from ROOMS")
            elif not is_a_docstring(path.read_text("utf-8")):
                problems.append(f"{module} has more than a docstring in its __init__.py")
            continue
        here = STAGES.index(module) if module else len(STAGES)
        learning = any(within(module, room) for room in ("model", "train", "study.engine"))
        for source, names, at_import in imports_of(path.read_text("utf-8")):
            # A name taken from a package may be one of its files: then the package's own file is no matter.
            inner = {f"{source}.{name}" for name in names}
            files = {name for name in inner if name.removeprefix("otoscribe.") in modules}
            targets = files if files == inner and files else {source, *inner}
            if source.startswith("."):
                problems.append(f"{module} imports {source} relatively")
            if at_import and not learning:
                heavy = [t for t in sorted(targets) if any(within(t, name) for name in LEARNING)]
                problems.extend(f"{module} imports {target} when it is imported" for target in heavy[:1])
            if source == "otoscribe" and not within(module, "cli"):
                # The package's own names come from its last stages.
                face = [name for name in names if name not in modules]
                problems.extend(f"{module} imports {name} from the package as a whole" for name in face)
            for target in sorted(targets):
                inside = target.removeprefix("otoscribe.")
                if inside != target and inside in STAGES and STAGES.index(inside) > here:
                    problems.append(f"{module} imports {inside}, which comes after it")
    return problems


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the package."""
    folder = tmp_path_factory.mktemp("copy") / "otoscribe"
    return shutil.copytree(PACKAGE, folder, ignore=lambda _, names: {"bundled", "__pycache__"})


@contextmanager
def planted(package: Path, file: str, line: str) -> Iterator[None]:
    """Add a line to a file, new or old, for a while."""
    path = package / file
    before = path.read_text("utf-8") if path.exists() else None
    path.write_text(f"{before or ''}\n{line}\n", encoding="utf-8")
    try:
        yield
    finally:
        path.unlink() if before is None else path.write_text(before, encoding="utf-8")


def test_no_arrow_turns_back() -> None:
    assert problems_of(PACKAGE) == []


def test_listening_loads_nothing_of_learning() -> None:
    listening = sorted(
        name
        for name in modules_of(PACKAGE)
        if not any(within(name, room) for room in ("model", "train", "study.engine")) and name != "__main__"
    )
    program = (
        f"import importlib, sys\n"
        f"for name in {listening!r}: importlib.import_module('otoscribe' + ('.' + name if name else ''))\n"
        f"print([name for name in {LEARNING!r} if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("file", "line", "problem"),
    [
        ("audio/reading.py", "import otoscribe.listen.captioner", "imports listen.captioner, which comes"),
        ("search/beam.py", "from otoscribe.bundle import bundle", "imports bundle.bundle, which comes after"),
        (
            "search/beam.py",
            "from otoscribe.bundle.bundle import Bundle",
            "imports bundle.bundle, which comes",
        ),
        ("files.py", "def f():\n    import otoscribe.audio.reading", "imports audio.reading, which comes"),
        (
            "files.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import otoscribe.audio.reading",
            "imports audio.reading, which comes after it",
        ),
        ("audio/reading.py", "from .errors import AudioError", "imports .errors relatively"),
        ("model/decoder.py", "import otoscribe.model.caption_model", "imports model.caption_model, which"),
        ("model/words/random.py", "import otoscribe.cli.main", "imports cli.main, which comes after it"),
        (
            "search/beam.py",
            "from otoscribe import Captioner",
            "imports Captioner from the package",
        ),
        ("stray.py", "", "is missing from ROOMS"),
        ("model/words/stray.py", "", "is missing from ROOMS"),
        ("fetch/__init__.py", "import json", "has more than a docstring in its __init__.py"),
        ("files.py", "import torch.nn", "imports torch.nn when it is imported"),
        ("files.py", "from scipy import signal", "imports scipy when it is imported"),
        ("files.py", "class A:\n    import h5py", "imports h5py when it is imported"),
        ("files.py", "try:\n    import onnx\nexcept ImportError:\n    pass", "imports onnx when it is"),
        ("files.py", "if True:\n    import safetensors", "imports safetensors when it is imported"),
        ("cli/main.py", "import otoscribe.train.trainer", "imports otoscribe.train.trainer when it is"),
        ("metrics/bleu.py", "from otoscribe import model", "imports otoscribe.model when it is imported"),
    ],
)
def test_a_planted_fault_is_found(package: Path, file: str, line: str, problem: str) -> None:
    with planted(package, file, line):
        found = problems_of(package)
    module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    assert any(text.startswith(f"{module} {problem}") for text in found), found


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("cli/main.py", "def train():\n    import torch\n    from otoscribe.train.trainer import train"),
        ("files.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"),
        ("model/words/random.py", "import torch\nfrom otoscribe.model.words.base import WORDS"),
        ("files.py", "import onnxruntime, torchless"),
    ],
)
def test_what_is_allowed_is_not_reported(package: Path, file: str, line: str) -> None:
    before = problems_of(package)
    with planted(package, file, line):
        assert problems_of(package) == before


def test_a_vanished_stage_is_found(package: Path) -> None:
    stage = package / "search" / "beam.py"
    stage.rename(package / "search" / "beam.txt")
    found = problems_of(package)
    (package / "search" / "beam.txt").rename(stage)
    assert "ROOMS lists search.beam, which does not exist" in found
