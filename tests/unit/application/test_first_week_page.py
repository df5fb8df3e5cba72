"""The commands of docs/how-to/first_week.md, as their own programs read them."""

import re
import shlex

import pytest
from support.project import ROOT

from lambda_setup.commands.parser import build_parser

PAGE = (ROOT / "docs" / "how-to" / "first_week.md").read_text(encoding="utf-8")
COMMANDS = [
    command
    for block in re.findall(r"^```\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    for command in block.splitlines()
]
OURS = [command for command in COMMANDS if command.startswith("python -m lambda_setup ")]
SAM = [command for command in COMMANDS if command.startswith("sam ")]
HERE = ("sam build", "sed ", "printf ", "python -m lambda_setup results show first")
"""What has nothing to do with an account."""


def test_every_command_is_somebodys():
    """The page has this project's commands, SAM's, and two that write a file."""
    assert {command.split()[0] for command in set(COMMANDS) - set(OURS) - set(SAM)} == {"sed", "printf"}
    assert len(OURS) > 10
    assert len(SAM) > 5


@pytest.mark.parametrize("command", OURS)
def test_ours(command):
    """Verb, arguments and options are those that the command takes."""
    parsed = build_parser().parse_args(shlex.split(command)[3:])
    assert callable(parsed.run)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_names_the_account(command):
    """But for those that have none to do with it."""
    assert command.startswith(HERE) != command.endswith("--region eu-central-1 --profile translation")


def test_samconfig_has_what_the_page_changes():
    """The first command finds the line, and switches the batch on in dev alone."""
    text = (ROOT / "samconfig.toml").read_text()
    start, pattern, former, new = re.fullmatch(
        r"sed -i '/\^\\\[(dev\.global)/,/\^\\\[(dev\.deploy)/s/([^/]+)/([^/]+)/' samconfig.toml", COMMANDS[0]
    ).groups()
    part = text[text.index(f"[{start}") : text.index(f"[{pattern}")]
    assert part.count(former) == 1
    assert new == f"{former} Batch=on"
