"""The page of failures quotes messages that the code has."""

import re
import subprocess

import pytest
from support.project import ROOT

PAGE = (ROOT / "docs" / "how-to" / "trouble.md").read_text(encoding="utf-8")
MESSAGES = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
SOURCES = ("lambda_setup", "layer/builder", "layer/python", "translation_function", "Makefile")


def test_there_are_messages() -> None:
    """Each once."""
    assert len(MESSAGES) >= 15
    assert len(set(MESSAGES)) == len(MESSAGES)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_one_of_the_code(message: str) -> None:
    """Its words stand in a source, so that a reader finds the page by what the screen says."""
    found = subprocess.run(
        [
            "/usr/bin/env",
            "git",
            "-C",
            str(ROOT),
            "grep",
            "--quiet",
            "--fixed-strings",
            "--",
            message,
            *SOURCES,
        ],
        check=False,
    )
    assert found.returncode == 0, message
