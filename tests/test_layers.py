"""Data flows one way: a module imports from stages before it, and listening needs nothing of learning."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "otoscribe"

# In the order in which data flows. A star marks a family of files that may import each other.
STAGES = [
    *("errors", "progress", "files", "remote", "download", "registry", "settings"),
    *("audio", "vocabulary", "rows", "tables", "search", "bundle", "stepper", "captioner"),
    "metrics.*",
    *("learn", "learn.features", "learn.pitch", "learn.encoders.*", "learn.store"),
    *("learn.attention", "learn.adapters.*", "learn.words.*", "learn.decoder", "learn.model"),
    *("learn.pairs", "learn.batches", "learn.run", "learn.trainer", "learn.export"),
    "cli.*",
    "__main__",
]

# What the listening half may import only inside a function that needs it, if at all.
LEARNING = ("torch", "h5py", "onnx", "onnxscript", "scipy", "safetensors", "flatbuffers", "otoscribe.learn")


def within(name: str, ancestor: str) -> bool:
    return name == ancestor or name.startswith(ancestor + ".")


def stage_of(module: str) -> int | None:
    for position, stage in enumerate(STAGES):
        if module == stage or (stage.endswith(".*") and within(module, stage[:-2])):
            return position
    return None


def modules_of(package: Path) -> dict[str, Path]:
    """Return the package's files by module name, without the package's own: "learn.words.random"."""
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


def problems_of(package: Path) -> list[str]:
    modules = modules_of(package)
    problems = [
        f"STAGES lists {s}, which does not exist" for s in STAGES if s.removesuffix(".*") not in modules
    ]
    for module, path in sorted(modules.items()):
        here = stage_of(module) if module else len(STAGES)
        if here is None:
            problems.append(f"{module} is missing from STAGES")
            continue
        for source, names, at_import in Imports(ast.parse(path.read_text("utf-8"))).found:
            targets = {source, *(f"{source}.{name}" for name in names)}
            if source.startswith("."):
                problems.append(f"{module} imports {source} relatively")
            if at_import and not within(module, "learn"):
                heavy = [t for t in sorted(targets) if any(within(t, name) for name in LEARNING)]
                problems.extend(f"{module} imports {target} when it is imported" for target in heavy[:1])
            if source == "otoscribe" and not within(module, "cli"):
                # The package's own names come from its last stages.
                face = [name for name in names if name not in modules and name != "__version__"]
                problems.extend(f"{module} imports {name} from the package as a whole" for name in face)
            for target in sorted(targets):
                inside = target.removeprefix("otoscribe.")
                there = stage_of(inside) if inside != target and inside in modules else None
                if there is not None and there > here:
                    problems.append(f"{module} imports {inside}, which comes after it")
    return problems


def test_no_arrow_turns_back() -> None:
    assert problems_of(PACKAGE) == []


def test_listening_loads_nothing_of_learning() -> None:
    listening = sorted(
        name for name in modules_of(PACKAGE) if not within(name, "learn") and name != "__main__"
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
        ("audio.py", "import otoscribe.captioner", "audio imports captioner, which comes after it"),
        ("search.py", "from otoscribe import bundle", "search imports bundle, which comes after it"),
        ("search.py", "from otoscribe.bundle import Bundle", "search imports bundle, which comes after it"),
        ("files.py", "def f():\n    import otoscribe.audio", "files imports audio, which comes after it"),
        (
            "files.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import otoscribe.audio",
            "files imports audio, which comes after it",
        ),
        ("audio.py", "from .errors import AudioError", "audio imports .errors relatively"),
        (
            "learn/decoder.py",
            "import otoscribe.learn.model",
            "learn.decoder imports learn.model, which comes",
        ),
        (
            "learn/words/new.py",
            "import otoscribe.cli.main",
            "learn.words.new imports cli.main, which comes after",
        ),
        (
            "search.py",
            "from otoscribe import Captioner",
            "search imports Captioner from the package as a whole",
        ),
        ("stray.py", "", "stray is missing from STAGES"),
        ("learn/stray.py", "", "learn.stray is missing from STAGES"),
        ("files.py", "import torch.nn", "files imports torch.nn when it is imported"),
        ("files.py", "from scipy import signal", "files imports scipy when it is imported"),
        ("files.py", "class A:\n    import h5py", "files imports h5py when it is imported"),
        ("files.py", "try:\n    import onnx\nexcept ImportError:\n    pass", "files imports onnx when it is"),
        ("files.py", "if True:\n    import safetensors", "files imports safetensors when it is imported"),
        (
            "cli/new.py",
            "import otoscribe.learn.trainer",
            "cli.new imports otoscribe.learn.trainer when it is",
        ),
        ("metrics/new.py", "from otoscribe import learn", "metrics.new imports otoscribe.learn when it is"),
    ],
)
def test_a_planted_fault_is_found(tmp_path: Path, file: str, line: str, problem: str) -> None:
    package = shutil.copytree(
        PACKAGE, tmp_path / "otoscribe", ignore=lambda _, names: {"bundled", "__pycache__"}
    )
    with (package / file).open("a", encoding="utf-8") as planted:
        planted.write(f"\n{line}\n")
    found = problems_of(package)
    assert any(text.startswith(problem) for text in found), found


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("cli/new.py", "def train():\n    import torch\n    from otoscribe.learn.trainer import train"),
        ("files.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"),
        ("learn/words/new.py", "import torch\nfrom otoscribe.learn.words import WORDS"),
        ("files.py", "import onnxruntime, torchless"),
    ],
)
def test_what_is_allowed_is_not_reported(tmp_path: Path, file: str, line: str) -> None:
    package = shutil.copytree(
        PACKAGE, tmp_path / "otoscribe", ignore=lambda _, names: {"bundled", "__pycache__"}
    )
    before = problems_of(package)
    with (package / file).open("a", encoding="utf-8") as added:
        added.write(f"\n{line}\n")
    assert problems_of(package) == before


def test_a_vanished_stage_is_found(tmp_path: Path) -> None:
    package = shutil.copytree(
        PACKAGE, tmp_path / "otoscribe", ignore=lambda _, names: {"bundled", "__pycache__"}
    )
    (package / "search.py").unlink()
    assert "STAGES lists search, which does not exist" in problems_of(package)
