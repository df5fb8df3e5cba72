"""Every code block of the pages is what its language takes; other tests run what has an effect."""

import ast
import json
import re
import shlex
import textwrap
import tomllib
from typing import Any

import click
import pytest
from samcli.cli.main import cli
from support.project import ROOT

FOLDERS = ("docs", "examples", "studies")
PAGES = [*ROOT.glob("*.md"), *(page for name in FOLDERS for page in sorted((ROOT / name).rglob("*.md")))]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
BLOCKS = [
    (language, pytest.param(textwrap.dedent(content), id=f"{page.relative_to(ROOT)}-{index}"))
    for page in PAGES
    if page.name not in {"api.md", "commands.md"}  # signatures and usages, which the code writes
    for index, (_, language, content) in enumerate(FENCE.findall(page.read_text(encoding="utf-8")))
]
SAM = re.compile(r"^sam [a-z].*$", re.MULTILINE)
LANGUAGES = {"", "json", "python", "text", "toml"}


def select(language: str) -> list[Any]:
    """Return the blocks of a language."""
    return [block for found, block in BLOCKS if found == language]


def test_languages_are_known() -> None:
    """A language that nothing here reads would be one that nothing checks."""
    assert {language for language, _ in BLOCKS} == LANGUAGES


@pytest.mark.parametrize("content", select("python"))
def test_python(content: str) -> None:
    """A block is a module, or the body of a class."""
    ast.parse(content)


@pytest.mark.parametrize("content", select("json"))
def test_json(content: str) -> None:
    """A block is a value, or one a line."""
    try:
        json.loads(content)
    except json.JSONDecodeError:
        for line in content.splitlines():
            json.loads(line)


@pytest.mark.parametrize("content", select("toml"))
def test_toml(content: str) -> None:
    """A block is a document."""
    tomllib.loads(content)


@pytest.mark.parametrize("content", select(""))
def test_shell(content: str) -> None:
    """A block is what a shell reads."""
    assert shlex.split(content, comments=True)


@pytest.mark.parametrize(
    "command", sorted({line for block in select("") for line in SAM.findall(block.values[0])})
)
def test_sam(command: str) -> None:
    """The subcommand is one of SAM's, and has each option."""
    context, found = click.Context(cli, obj=object()), cli  # without one SAM does not import its commands
    words = shlex.split(command, comments=True)[1:]
    while isinstance(found, click.Group):
        found = found.get_command(context, words.pop(0))
    assert found
    known = {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= known
