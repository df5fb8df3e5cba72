"""The table of findings in docs/reference/aws.md: each fixed, with tests that there are, or answered."""

import ast
import re

import pytest
from support.project import ROOT

PAGE = ROOT / "docs" / "reference" / "aws.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if re.match(r"\| [DR]\d+ ", line)
]
LINK = re.compile(r"\[(\w+)\]\(([^)]+)\)")


def test_every_finding_has_its_line() -> None:
    """Defects 1 to 14 and risks 1 to 14, each once and in order."""
    assert [row[0] for row in ROWS] == [f"{kind}{number}" for kind in "DR" for number in range(1, 15)]
    assert {len(row) for row in ROWS} == {4}


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_finding_is_fixed_or_answered(row: list[str]) -> None:
    """What is fixed names tests, and nothing else has some; each of them is a function of the file."""
    _, _, state, tests = row
    links = LINK.findall(tests)
    assert re.match(r"(fixed|answered)\b.*: ", state)
    assert bool(links) == state.startswith("fixed")
    assert ", ".join(f"[{name}]({path})" for name, path in links) == tests
    for name, path in links:
        tree = ast.parse((PAGE.parent / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, name
