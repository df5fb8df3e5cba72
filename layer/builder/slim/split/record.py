"""The record of hot pages, beside the lock: which pages of a library predictions have touched.

A library is known by its sha256, so a record that was made of other wheels says nothing.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from layer.builder.recipe import Recipe
from layer.builder.slim.split.pages import Run, format_runs, parse_runs
from layer.builder.target import Target
from layer.builder.tree import write_atomic


def path_of(recipe: Recipe, target: Target) -> Path:
    """Return the path of a target's record."""
    return recipe.folder / target.record / "hot.json"


def read(recipe: Recipe, target: Target, libraries: Mapping[str, str]) -> dict[str, list[Run]] | None:
    """Return the runs of hot pages, by library; None unless they are those of all these libraries.

    ``libraries`` holds the sha256 of each by its path.
    """
    try:
        found = json.loads(path_of(recipe, target).read_text(encoding="utf-8"))
        if {path: one["sha256"] for path, one in found.items()} != dict(libraries):
            return None
        return {path: parse_runs(one["pages"]) for path, one in found.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def write(
    recipe: Recipe, target: Target, libraries: Mapping[str, str], hot: Mapping[str, Sequence[Run]]
) -> None:
    """Record the runs of hot pages of libraries, by their paths."""
    table = {path: {"sha256": digest, "pages": format_runs(hot[path])} for path, digest in libraries.items()}
    write_atomic(path_of(recipe, target), json.dumps(table, indent=1, sort_keys=True) + "\n")
