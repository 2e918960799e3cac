"""What the pages point to is there."""

import re
from pathlib import Path

import pytest

from workbench import cli, parameters

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("data/*/README.md")])
NAMED = re.compile(r"(?<![\w/.<])(?:docs|notebooks|tests|scripts|src|data|plans|\.ci)/[\w./-]*\w(?:\.\w+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_a_page_names_exists(page):
    named = set(NAMED.findall(page.read_text(encoding="utf-8")))
    assert sorted(name for name in named if "LL." not in name and not (ROOT / name).exists()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_a_page_names_exists(page):
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`|\.venv/bin/)workbench ([a-z]+)\b", text, flags=re.MULTILINE))
    known = {command.name or command.callback.__name__ for command in cli.app.registered_commands}
    assert named <= known, named - known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_make_target_a_page_names_exists(page):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z]+)\b", page.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert named <= targets, named - targets


def test_every_parameter_of_a_notebook_is_explained():
    text = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    assert [name for name in parameters.PARAMETERS if f"`{name}`" not in text] == []


def test_the_readme_opens_with_the_two_commands():
    first = (ROOT / "README.md").read_text(encoding="utf-8").split("```")[1]
    assert [line.split("#")[0].strip() for line in first.strip().splitlines()] == ["make evaluate", "make test"]
