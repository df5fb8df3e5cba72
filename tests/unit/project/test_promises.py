"""The table in docs/promises.md: each promise once, held by tests that exist."""

import ast
import re

import pytest
from support.project import ROOT

PAGE = ROOT / "docs" / "promises.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text(encoding="utf-8").partition("## ")[0].splitlines()
    if re.match(r"\| [a-z-]+ ?⚔? \| ", line) and not line.startswith("| id ")
]
LINK = re.compile(r"\[(\w+)\]\(([^)]+)\)")
CHECKS = ROOT / "tests" / "soak" / "campaign"


def test_every_promise_has_an_id() -> None:
    """Each once."""
    names = [row[0] for row in ROWS]
    assert len(names) > 10
    assert len(set(names)) == len(names)
    assert {len(row) for row in ROWS} == {4}


@pytest.mark.parametrize("row", ROWS, ids=[row[0].split()[0] for row in ROWS])
def test_a_promise_is_held(row: list[str]) -> None:
    """By tests, each of them a function of the file."""
    links = LINK.findall(row[3])
    assert links
    assert ", ".join(f"[{name}]({path})" for name, path in links) == row[3]
    for name, path in links:
        tree = ast.parse((PAGE.parent / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, name


def test_the_campaign_checks_what_the_page_says() -> None:
    """The ids in its assertions are those that are marked, and no others."""
    checked = {
        name
        for path in CHECKS.glob("*.py")
        for name in re.findall(r'"\[([a-z-]+)\] ', path.read_text(encoding="utf-8"))
    }
    assert checked == {row[0].split()[0] for row in ROWS if "⚔" in row[0]}
