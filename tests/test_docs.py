"""What README and docs show can be done, and what they name exists: code, commands, options, files, figures."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import otoscribe
from otoscribe.cli.formats import COLUMNS
from otoscribe.cli.main import app
from otoscribe.listen.captioner import LONGEST_SECONDS
from support.pages import PACKAGE, PAGES, PROJECT, arguments_of, blocks_of, lines_of, mentions
from support.story import NOT_CHECKED, NOT_RUN, Story

SHOWING = [page for page in PAGES if list(blocks_of(page))]
COMMANDS: Any = typer.main.get_command(app)


@pytest.fixture
def story(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Story]:
    folder = tmp_path / "story"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(otoscribe, "_default", None)
    before = set(sys.modules)
    yield Story(folder, capsys)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
            del sys.modules[name]


def needs_torch(page: str) -> bool:
    return any(
        block.language == "toml" or re.search(r"otoscribe\.(model|train)", block.text)
        for block in blocks_of(page)
    )


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] * needs_torch(page)) for page in SHOWING]
)
def test_what_a_page_shows_is_what_happens(page: str, story: Story) -> None:
    if needs_torch(page):
        pytest.importorskip("torch", reason=f"{page} is about training, which needs the extra [train].")
    for block in blocks_of(page):
        story.play(block)


def called(arguments: list[str]) -> Any:
    """Return the command that some arguments call."""
    command = COMMANDS.commands[arguments[1]]
    return command


@pytest.mark.parametrize("page", SHOWING)
def test_every_command_can_be_read(page: str) -> None:
    for block in blocks_of(page):
        if block.language in ("sh", "console"):
            for line in lines_of(block):
                if "otoscribe " in line:
                    program, *arguments = arguments_of(line[line.index("otoscribe ") :].rstrip(")"))
                    name, *rest = arguments
                    COMMANDS.commands[name].make_context(name, rest)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_is_named_exists(page: str) -> None:
    for _, name, *rest in mentions(page):
        options = {option for parameter in COMMANDS.commands[name].params for option in parameter.opts}
        assert {part.split("=")[0] for part in rest if part.startswith("-")} <= options, (name, rest)


def test_every_command_is_shown() -> None:
    shown = {
        arguments[1]
        for page in SHOWING
        for block in blocks_of(page)
        if block.language in ("sh", "console")
        for line in lines_of(block)
        if len(arguments := arguments_of(line)) > 1 and arguments[0] == "otoscribe"
    }
    assert shown == set(COMMANDS.commands)


@pytest.mark.parametrize("name", COMMANDS.commands)
def test_every_option_is_explained(name: str) -> None:
    docs = " ".join(text for page, text in PAGES.items() if page.startswith("docs/") and "decisions" not in page)
    options = {
        option
        for parameter in COMMANDS.commands[name].params
        for option in parameter.opts
        if option.startswith("--")
    }
    assert {option for option in options if not re.search(rf"`{option}[` ]", docs)} == {"--help"} & options


def test_every_reason_not_to_run_or_check_a_block_is_of_use() -> None:
    blocks = [block for page in SHOWING for block in blocks_of(page)]
    for words in NOT_RUN:
        assert any(words in block.text for block in blocks if block.language in ("sh", "console")), words
    for language in NOT_CHECKED:
        assert any(block.language == language for block in blocks), language
