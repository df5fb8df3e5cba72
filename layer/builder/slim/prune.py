"""Pruning: remove files by rules, each with a name and a reason."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from layer.builder import tree as trees
from layer.builder.report.facts import Removed
from layer.builder.slim.globs import matches

LICENCES = ("*.dist-info/**/LICEN[CS]E*", "*.dist-info/**/COPYING*", "*.dist-info/**/NOTICE*",
            "*.dist-info/LICEN[CS]E*", "*.dist-info/COPYING*", "*.dist-info/NOTICE*")  # fmt: skip
"""The licences, which have to be distributed with a package."""


@dataclass(frozen=True)
class Rule:
    """The globs of files to remove, and why."""

    name: str
    reason: str
    globs: tuple[str, ...]


def prune(
    tree: Path, rules: Iterable[Rule], protected: Sequence[str], opened: Collection[str] = ()
) -> list[Removed]:
    """Remove files that match a rule, unless protected by a glob, or opened by a prediction.

    A file counts for the first rule that matches. Bytecode is compiled again, whoever opened it.
    """
    removed: list[Removed] = []
    kept = {path for path in opened if not path.endswith(".pyc")}
    for rule in rules:
        matching = [
            file
            for file in trees.files(tree)
            if file.path not in kept and matches(file.path, rule.globs) and not matches(file.path, protected)
        ]
        removed += remove_files(tree, matching, rule.name, rule.reason)
    return removed


def remove_files(tree: Path, files: Sequence[trees.File], rule: str, reason: str) -> list[Removed]:
    """Remove files, and return their number and bytes for each package."""
    trees.remove(tree, [file.path for file in files])
    sizes: dict[str, list[int]] = {}
    for file in files:
        sizes.setdefault(file.package, []).append(file.size)
    return [Removed(rule, reason, package, len(own), sum(own)) for package, own in sorted(sizes.items())]
