"""The page of commands has every command and option that their help shows, and nothing else."""

import argparse

import pytest

from tools.pages import commands

PAGE = commands.make_page()
SECTIONS = {part.partition("\n")[0]: part for part in PAGE.split("\n## ")[1:]}
COMMANDS = {f"{one.program.removeprefix('python -m ')} {one.name}": one for one in commands.list_commands()}


def test_every_command_has_its_section() -> None:
    """Once, in the order of the help, and each is linked from the list at the top."""
    names = [name.removeprefix("lambda_setup ") for name in COMMANDS]
    assert list(SECTIONS) == names
    for name in names:
        assert f"](#{name.replace(' ', '-')})" in PAGE


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_its_row(name: str) -> None:
    """With a meaning; those that every command has are said once, at the top."""
    one = COMMANDS[name]
    section = SECTIONS[name.removeprefix("lambda_setup ")]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert len(rows) == len(commands.list_arguments(one.parser))
    for argument in commands.list_arguments(one.parser):
        for option in argument.option_strings:
            assert any(f"`{option}" in row.split(" | ")[0] for row in rows), option
    assert all(len(row.split(" | ")[-1]) > len("x |") for row in rows)
    assert "--debug" not in section


def test_a_help_text_is_markdown_as_it_is_text() -> None:
    """Options are code; what would be markup, or end a cell, is written as it is."""
    parser = argparse.ArgumentParser(prog="python -m mine", epilog="example: one; two")
    parser.add_argument(
        "--out", metavar="A|B", required=True, help="as DIR/<key>, without _x; see `--y` or --z"
    )
    [row] = [
        f"{commands._name(one)} | {commands._describe(parser, one)}"
        for one in commands.list_arguments(parser)
    ]
    assert row == r"`--out A\|B` | as DIR/\<key>, without \_x; see `--y` or `--z`; required"
    assert commands.Command("python -m mine", "", "", parser).examples == ["one", "two"]
