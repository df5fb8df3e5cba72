"""Traces: which files of a tree a prediction opened or mapped; kept beside the lock.

A machine that cannot run a target builds from the trace of the same wheels that another made.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from layer.builder import tree as trees
from layer.builder.files import write_atomic
from layer.builder.recipe import Recipe
from layer.builder.report.facts import Removed
from layer.builder.slim.globs import matches
from layer.builder.slim.prune import LICENCES, take_out
from layer.builder.target import Target
from layer.builder.wheels.lock import Lock

RULE = "unused"
_REASON = "the smoke prediction neither opened nor mapped it"

_BYTECODE = re.compile(
    r"(?P<folder>(?:(?!__pycache__/)[^/]+/)*)(?:__pycache__/)?(?P<module>[^/]+?)(?:\.cpython-\d+)?\.pyc"
)


def path_of(recipe: Recipe, target: Target) -> Path:
    """Return where a target's trace stands."""
    return recipe.folder / target.record / "files.trace"


def read(recipe: Recipe, target: Target, lock: Lock) -> list[str] | None:
    """Return the files of a recorded trace, None where there is none for these wheels."""
    path = path_of(recipe, target)
    if not path.is_file():
        return None
    header, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
    return lines if header == _header(lock) else None


def write(recipe: Recipe, target: Target, lock: Lock, opened: Iterable[str]) -> list[str]:
    """Record a trace, and return its files."""
    path = path_of(recipe, target)
    lines = sorted({_source(name) for name in opened})
    write_atomic(path, "\n".join([_header(lock), *lines]) + "\n")
    return lines


def keep(
    tree: Path, traced: Iterable[str], protected: Sequence[str], package_data: Sequence[str]
) -> list[Removed]:
    """Remove what a trace does not name, nor protection, licences, or the used packages' data."""
    traced = set(traced)
    found = trees.files(tree)
    used = {file.package for file in found if file.path in traced}
    unused = [
        file
        for file in found
        if file.path not in traced
        and not matches(file.path, protected)
        and not (file.package in used and matches(file.path, (*LICENCES, *package_data)))
    ]
    return take_out(tree, unused, RULE, _REASON)


def _header(lock: Lock) -> str:
    return f"# wheels {lock.digest}"


def _source(path: str) -> str:
    """Return the source of a bytecode file; of any other file, the file."""
    match = _BYTECODE.fullmatch(path)
    return f"{match['folder']}{match['module']}.py" if match else path
