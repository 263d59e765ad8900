"""What README and docs show happens, and what they name exists: code, commands, options, files, columns."""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import otoscribe
from otoscribe.bundle.manifest import read_manifest
from otoscribe.cli.formats import COLUMNS
from otoscribe.cli.main import app
from otoscribe.listen.captioner import BUNDLED
from support.pages import GROUPS, PACKAGE, PAGES, PROJECT, blocks_of, commands_of, mentions_in
from support.story import NOT_CHECKED, NOT_RUN, Story

COMMANDS: dict[str, Any] = dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
for group in GROUPS:
    COMMANDS |= {f"{group} {name}": command for name, command in COMMANDS.pop(group).commands.items()}
SHOWING = [page for page in PAGES if blocks_of(page)]
README = PAGES["README.md"]
TORCH = re.compile(r"otoscribe\.(model|train)|otoscribe train ")
"""What a page shows that needs the extra [train]."""
PROJECT_TABLE = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture
def story(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Story]:
    told = Story(tmp_path / "story", capsys)
    monkeypatch.chdir(told.folder)
    monkeypatch.syspath_prepend(told.folder)
    monkeypatch.setattr(otoscribe, "_default", None)
    before = set(sys.modules)
    yield told
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(told.folder):
            del sys.modules[name]


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] * (page != "README.md")) for page in SHOWING]
)
def test_what_a_page_shows_is_what_happens(page: str, story: Story) -> None:
    if page != "README.md" and TORCH.search(PAGES[page]):
        pytest.importorskip("torch", reason=f"{page} shows training, which needs the extra [train].")
    for block in blocks_of(page):
        story.play(block)


@pytest.mark.parametrize("page", SHOWING)
def test_every_command_that_is_shown_can_be_read(page: str) -> None:
    for name, *arguments in commands_of(page):
        COMMANDS[name].make_context(name, arguments)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_is_named_exists(page: str) -> None:
    for name, *arguments in mentions_in(page):
        options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        named = {argument.split("=")[0] for argument in arguments if argument.startswith("-")}
        assert named <= options, (name, arguments)


def test_every_command_is_shown() -> None:
    assert {name for page in SHOWING for name, *_ in commands_of(page)} == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name: str) -> None:
    pages = "".join(text for page, text in PAGES.items() if re.fullmatch(r"docs/[\w-]+\.md", page))
    for parameter in COMMANDS[name].params:
        for option in parameter.opts:
            assert not option.startswith("--") or f"`{option}" in pages, option


def test_every_reason_not_to_run_or_check_a_block_is_of_use() -> None:
    blocks = [block for page in SHOWING for block in blocks_of(page)]
    for words in NOT_RUN:
        assert any(words in block.text for block in blocks if block.language == "sh"), words
    for language in NOT_CHECKED:
        assert any(block.language == language for block in blocks), language


def test_the_readme_begins_with_what_people_need_and_is_short() -> None:
    assert re.search(r"\n```sh\nmake demo .*\nmake test ", README[:400])
    assert "non-commercial" in README[:1600]
    assert len(README.splitlines()) <= 110


@pytest.mark.parametrize("file", ["my_encoder", "my_network", "my_adapter", "my_words", "my_dataset"])
def test_what_people_bring_along_takes_20_lines(file: str) -> None:
    (block,) = (block for block in blocks_of("docs/extending.md") if block.title == f"{file}.py")
    assert len(list(filter(str.strip, block.body.splitlines()))) <= 20


def test_columns_and_limit_are_the_real_ones() -> None:
    page = " ".join(PAGES["docs/captioning.md"].split())
    assert f"`{','.join(COLUMNS)}`" in page
    limit = f"up to {read_manifest(BUNDLED).longest_seconds / 3600:g} hours"
    assert limit in page
    assert limit in PAGES["README.md"]


def test_every_variant_is_listed() -> None:
    pytest.importorskip("torch", reason="Variants need the learning half.")
    from otoscribe.model.adapters.base import ADAPTERS
    from otoscribe.model.encoders.base import ENCODERS
    from otoscribe.model.words.base import WORDS

    for name in (*ENCODERS, *ADAPTERS, *WORDS):
        assert f"`{name}`" in PAGES["docs/training.md"], name


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page: str) -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"(?:^ *|`)make ([a-z-]+)", PAGES[page], re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("page", PAGES)
def test_links_and_files_lead_somewhere(page: str) -> None:
    for target, _, heading in re.findall(r"\]\(((?!https:)[^)#]*)(#([^)]+))?\)", PAGES[page]):
        linked = (PROJECT / page).parent / target if target else PROJECT / page
        assert linked.exists(), target
        if heading:
            text = PAGES[linked.resolve().relative_to(PROJECT).as_posix()]
            assert heading in map(anchor, re.findall(r"^#+ (.*)$", text, re.MULTILINE)), heading
    for file in re.findall(r"`((?!runs/|features/)(?:[a-z]+)/[a-z_/]*(?:\.\w+)?)`", PAGES[page]):
        assert (PROJECT / file).exists() or (PACKAGE / file).exists(), file


def anchor(heading: str) -> str:
    """Return what a link to a heading ends with."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_how_to_cite() -> None:
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert (citation["title"], citation["version"]) == ("otoscribe", otoscribe.__version__)
    paper = citation["preferred-citation"]
    assert [author["family-names"] for author in paper["authors"]] == ["Weck", "Favory", "Drossos", "Serra"]
    assert paper["url"] in README
    assert paper["type"] == "conference-paper"


def test_the_package_states_both_licences() -> None:
    assert "non-commercial" in PROJECT_TABLE["description"]
    assert PROJECT_TABLE["license"] == "Apache-2.0 AND LicenseRef-otoscribe-small-2"
    texts = [(PROJECT / file).read_text(encoding="utf-8") for file in PROJECT_TABLE["license-files"]]
    assert "Apache License" in texts[0]
    assert texts[1].startswith("# otoscribe-small-2")
    assert "non-commercial" in texts[1]
