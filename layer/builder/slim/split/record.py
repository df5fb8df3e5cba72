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


def read(
    recipe: Recipe, target: Target, files: Mapping[str, str], name: str = HOT
) -> dict[str, list[Run]] | None:
    """Return the runs of pages, by file; None unless they are those of all these files.

    ``files`` holds the sha256 of each by its path.
    """
    try:
        found = json.loads(path_of(recipe, target, name).read_text(encoding="utf-8"))
        if {path: one["sha256"] for path, one in found.items()} != dict(files):
            return None
        return {path: parse_runs(one["pages"]) for path, one in found.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


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
