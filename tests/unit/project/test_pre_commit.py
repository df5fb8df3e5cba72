"""What runs before a commit is what ``make lint`` runs."""

import re

import yaml
from support.project import ROOT

HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]


def test_lint_and_hooks_are_the_same() -> None:
    """But for the functions' types, which are checked folder by folder, and only by ``make lint``."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^lint: .*\n((?:\t.*\n)+)", makefile, re.MULTILINE)[1]
    lint = re.findall(r"^\t@(\$\(\S+)(.*)$", recipe, re.MULTILINE)
    commands = [
        f"{program}{rest}".replace("$(VENV)", ".venv").replace("$(PY)", ".venv/bin/python")
        for program, rest in lint
    ]
    assert [hook["entry"].replace(" --force-exclude", "") for hook in HOOKS] == commands
    assert {hook["language"] for hook in HOOKS} == {"system"}
