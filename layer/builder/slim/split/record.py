"""Records of pages, beside the lock: of code that predictions touched, and of files that a start reads.

A file is known by its sha256, so a record that was made of other wheels says nothing.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from layer.builder.recipe import Recipe
from layer.builder.slim.split.pages import Run, format_runs, parse_runs
from layer.builder.target import Target
from layer.builder.tree import write_atomic

HOT = "hot.json"
"""The record of hot code."""


def path_of(recipe: Recipe, target: Target, name: str = HOT) -> Path:
    """Return the path of a target's record."""
    return recipe.folder / target.record / name


def read(recipe: Recipe, target: Target, files: Mapping[str, str]) -> dict[str, list[Run]] | None:
    """Return the runs of hot pages, by library; None unless they are those of all these libraries.

    ``files`` holds the sha256 of each by its path.
    """
    hashes, pages = _read(path_of(recipe, target))
    return pages if hashes and hashes == dict(files) else None


def read_known(recipe: Recipe, target: Target, files: Mapping[str, str], name: str) -> dict[str, list[Run]]:
    """Return the runs of pages of those files that have a record."""
    hashes, pages = _read(path_of(recipe, target, name))
    return {path: pages[path] for path, digest in files.items() if hashes.get(path) == digest}


def _read(path: Path) -> tuple[dict[str, str], dict[str, list[Run]]]:
    """Return what a record has of each file: its sha256, and its pages' runs; nothing if it is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        hashes = {name: one["sha256"] for name, one in found.items()}
        return hashes, {name: parse_runs(one["pages"]) for name, one in found.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}, {}


def write(
    recipe: Recipe,
    target: Target,
    files: Mapping[str, str],
    pages: Mapping[str, Sequence[Run]],
    name: str = HOT,
) -> None:
    """Record the runs of pages of files, by their paths."""
    table = {path: {"sha256": digest, "pages": format_runs(pages[path])} for path, digest in files.items()}
    write_atomic(path_of(recipe, target, name), json.dumps(table, indent=1, sort_keys=True) + "\n")
