"""Pruning: rules that say by name and with a reason which files no layer needs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from layer.builder import tree as trees
from layer.builder.report.facts import Removed
from layer.builder.slim.globs import matches

LICENCES = ("*.dist-info/**/LICEN[CS]E*", "*.dist-info/**/COPYING*", "*.dist-info/**/NOTICE*",
            "*.dist-info/LICEN[CS]E*", "*.dist-info/COPYING*", "*.dist-info/NOTICE*")  # fmt: skip
"""What whoever passes a package on has to pass on with it."""


@dataclass(frozen=True)
class Rule:
    """What is taken out, and why."""

    name: str
    reason: str
    globs: tuple[str, ...]


def prune(tree: Path, rules: Iterable[Rule], protected: Sequence[str]) -> list[Removed]:
    """Remove what the rules name, unless it is protected; the first rule that names a file counts it."""
    removed: list[Removed] = []
    for rule in rules:
        found = [
            file
            for file in trees.files(tree)
            if matches(file.path, rule.globs) and not matches(file.path, protected)
        ]
        removed += take_out(tree, found, rule.name, rule.reason)
    return removed


def take_out(tree: Path, files: Sequence[trees.File], rule: str, reason: str) -> list[Removed]:
    """Remove files, and return what that took out of each package."""
    trees.remove(tree, [file.path for file in files])
    packages = sorted({file.package for file in files})
    return [
        Removed(
            rule,
            reason,
            package,
            sum(file.package == package for file in files),
            sum(file.size for file in files if file.package == package),
        )
        for package in packages
    ]
