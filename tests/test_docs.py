"""What README and docs say can be typed can be typed: commands, options, Python, settings, targets, links."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import otoscribe
from otoscribe.cli.formats import COLUMNS
from otoscribe.cli.main import app
from otoscribe.errors import MetricError
from otoscribe.listen import captioner
from otoscribe.listen.captioner import LONGEST_SECONDS
from otoscribe.metrics import evaluation
from support.tiny_bundle import write_tiny_bundle

PROJECT = Path(__file__).parents[1]
PAGES = sorted(
    [*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md"), *PROJECT.glob("examples/*.md")],
    key=lambda page: page.relative_to(PROJECT).as_posix(),
)
README = (PROJECT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return page.relative_to(PROJECT).as_posix()


def blocks(*languages: str) -> list[str]:
    """Return the contents of README's blocks in some languages."""
    return [content for language, content in BLOCK.findall(README) if language in languages]


def commands_in(text: str) -> list[list[str]]:
    """Return every `otoscribe ...` that stands on a line of a block or in backticks, as arguments."""
    lines = [
        line.removeprefix("$ ")
        for _, content in BLOCK.findall(text)
        for line in content.splitlines()
        if line.removeprefix("$ ").startswith("otoscribe ")
    ]
    spans = re.findall(r"`(otoscribe [a-z][^`\n]*)`", BLOCK.sub("", text))
    return [shlex.split(command, comments=True)[1:] for command in (*lines, *spans)]


def options_of(command: Any) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts if name.startswith("--")}


def subcommands() -> dict[str, Any]:
    """Return every command by its name."""
    group: Any = typer.main.get_command(app)
    return dict(group.commands)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run from the project's root, with the bundled model or, where it is not made yet, a tiny one."""
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr(otoscribe, "_default", None)
    if not (captioner.BUNDLED / "manifest.json").is_file():
        monkeypatch.setattr(captioner, "BUNDLED", write_tiny_bundle(tmp_path / "tiny"))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_options_exist(page: Path) -> None:
    known = subcommands()
    for command in commands_in(page.read_text(encoding="utf-8")):
        given = {argument.split("=")[0] for argument in command if argument.startswith("--")}
        assert given <= options_of(known[command[0]]), command


def test_the_table_of_options_is_complete() -> None:
    rows = set(re.findall(r"^\| `(--[a-z-]+)", README, re.MULTILINE))
    assert rows == options_of(subcommands()["caption"]) - {"--help"}


def test_every_command_is_shown() -> None:
    assert {command[0] for command in commands_in(README)} == set(subcommands())


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python_runs(number: int, model: None, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(blocks("python")[number], f"README.md, Python block {number}", "exec"), {})
    assert capsys.readouterr().out


@pytest.mark.slow
def test_commands_on_example_recordings_run(
    model: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_here(*_: object) -> None:
        raise MetricError("Not here.")

    # Programs and networks have tests of their own.
    for metric in ("Meteor", "Spice", "Fense"):
        monkeypatch.setattr(evaluation, metric, not_here)
    monkeypatch.chdir(tmp_path)
    Path("examples").symlink_to(PROJECT / "examples", target_is_directory=True)
    shown = [command for command in commands_in(README) if any("examples/" in part for part in command)]
    assert len(shown) == 7
    for command in shown:
        line, _, written = " ".join(command).partition(" > ")
        parts = line.split()
        files = [str(file) for part in parts if "*" in part for file in sorted(Path().glob(part))]
        arguments = [part for part in parts if "*" not in part] + files
        result = CliRunner().invoke(app, arguments)
        assert (result.exit_code, result.stderr) == (0, ""), command
        assert result.stdout
        if written:
            Path(written).write_text(result.stdout, encoding="utf-8")


def test_the_json_shown_has_the_keys_of_the_json_printed(model: None) -> None:
    shown = json.loads(next(block for block in blocks("json") if '"file"' in block))
    result = CliRunner().invoke(app, ["caption", "--format", "json", "examples/rain.flac"])
    (printed,) = json.loads(result.stdout)
    assert list(shown) == list(printed)
    assert list(shown["candidates"][0]) == list(printed["candidates"][0])
    assert list(shown["candidates"][0]["words"][0]) == list(printed["candidates"][0]["words"][0])


def test_the_columns_and_the_limit_are_the_real_ones() -> None:
    assert f"`{','.join(COLUMNS)}`" in README.replace("\n", " ")
    assert f"up to {LONGEST_SECONDS // 60} minutes" in README.replace("\n", " ")


def test_the_settings_shown_are_valid_and_every_variant_is_named(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="Settings of training need the learning half.")
    from otoscribe.model.adapters.base import ADAPTERS
    from otoscribe.model.encoders.base import ENCODERS
    from otoscribe.model.words.base import WORDS
    from otoscribe.train.settings import presets, read_settings

    (shown,) = blocks("toml")
    (tmp_path / "shown.toml").write_text(shown, encoding="utf-8")
    assert read_settings(str(tmp_path / "shown.toml")).training.seed == 1
    for name in (*ENCODERS, *ADAPTERS, *WORDS, *presets()):
        assert f"`{name}`" in README


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_targets_exist(page: Path) -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"(?:^ *|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_and_modules_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), target
    for module in re.findall(r"`((?!runs/)(?:[a-z]+)/[a-z_/]*(?:\.py)?)`", text):
        assert (PROJECT / module).exists() or (PROJECT / "src" / "otoscribe" / module).exists(), module


def test_pages_are_found() -> None:
    names = {name_of(page) for page in PAGES}
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/architecture.md"} <= names
    assert sum(name.startswith("docs/decisions/") for name in names) >= 9
