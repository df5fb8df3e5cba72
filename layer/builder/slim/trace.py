"""Traces: the files of a tree that a prediction opened or mapped; recorded next to the lock.

A machine that cannot run a target builds from a trace that another machine recorded with the same wheels.
Below ``_LATE`` come sources that the prediction does not import as modules: they are only read, or only
further imports opened them. Below ``_NAMED`` come files that nothing opened, and that ``reach`` found.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from layer.builder import tree as trees
from layer.builder.recipe import Recipe
from layer.builder.report.facts import Removed
from layer.builder.slim.globs import matches
from layer.builder.slim.prune import LICENCES, remove_files
from layer.builder.target import Target
from layer.builder.tree import write_atomic
from layer.builder.wheels.lock import Lock

_BYTECODE = re.compile(
    r"(?P<folder>(?:(?!__pycache__/)[^/]+/)*)(?:__pycache__/)?(?P<module>[^/]+?)(?:\.cpython-\d+)?\.pyc"
)
_LATE = "# not imported by the prediction"
_NAMED = "# not opened, and named by what stays, with"
_IMPORT = re.compile(rb"^[ \t]*(?:import|from)[ \t]+(\w+)", re.MULTILINE)


def path_of(recipe: Recipe, target: Target) -> Path:
    """Return the path of a target's trace."""
    return recipe.folder / target.record / "files.trace"


def read(recipe: Recipe, target: Target, lock: Lock) -> list[str] | None:
    """Return the files of a recorded trace, or None if no trace was recorded with these wheels."""
    blocks = _read_blocks(recipe, target, lock)
    return None if blocks is None else sorted(blocks[""] + blocks.get(_LATE, []))


def read_imported(recipe: Recipe, target: Target, lock: Lock) -> frozenset[str] | None:
    """Return the files of a recorded trace without those that the prediction does not import, if it tells."""
    blocks = _read_blocks(recipe, target, lock) or {}
    return frozenset(blocks[""]) if _LATE in blocks else None


def read_named(recipe: Recipe, target: Target, lock: Lock, key: str = "") -> list[str] | None:
    """Return the files that are named by those that stay, if that is recorded, and with the same key."""
    blocks = _read_blocks(recipe, target, lock) or {}
    return next((files for name, files in blocks.items() if name.startswith(f"{_NAMED} {key}")), None)


def write(
    recipe: Recipe, target: Target, lock: Lock, opened: Iterable[str], imported: Collection[str]
) -> list[str]:
    """Record a trace, and which of its sources are ``imported``; return its files."""
    files = sorted({get_source(name) for name in opened})
    modules = {get_source(name) for name in imported}
    late = [path for path in files if path.endswith(".py") and path not in modules]
    _write_blocks(recipe, target, lock, {"": sorted({*files} - {*late}), _LATE: late})
    return files


def write_named(recipe: Recipe, target: Target, lock: Lock, key: str, named: Collection[str]) -> list[str]:
    """Record which files those that stay name beyond a trace, with a key of what decides it; return them."""
    blocks = _read_blocks(recipe, target, lock)
    assert blocks is not None  # noqa: S101
    kept = {name: files for name, files in blocks.items() if not name.startswith(_NAMED)}
    files = sorted({*named} - {*kept[""], *kept.get(_LATE, ())})
    _write_blocks(recipe, target, lock, {**kept, f"{_NAMED} {key}": files})
    return files


def find_namespaces(tree: Path, traced: Sequence[str]) -> list[str]:
    """Return globs of packages without a file of their own that traced modules import, and never look into.

    Nothing is opened there when they are imported, but without a file there is no folder to import.
    """
    found = {Path(file.path).parts[0] for file in trees.files(tree) if re.fullmatch(r"\w+/.+\.py", file.path)}
    used = {path.partition("/")[0] for path in traced}
    empty = {name for name in found - used if not (tree / name / "__init__.py").exists()}
    sources = [tree / path for path in traced if empty and path.endswith(".py")]
    imported = {name for path in sources if path.is_file() for name in _IMPORT.findall(path.read_bytes())}
    return [f"{name}/**" for name in sorted(empty) if name.encode() in imported]


def keep(
    tree: Path, traced: Iterable[str], protected: Sequence[str], package_data: Sequence[str]
) -> list[Removed]:
    """Remove all files but traced and protected ones, and the licences and package data of used packages."""
    traced = set(traced)
    files = trees.files(tree)
    used = {file.package for file in files if file.path in traced}
    unused = [
        file
        for file in files
        if file.path not in traced
        and not matches(file.path, protected)
        and not (file.package in used and matches(file.path, (*LICENCES, *package_data)))
    ]
    return remove_files(tree, unused, "unused", "neither opened nor mapped by the smoke test")


def _read_blocks(recipe: Recipe, target: Target, lock: Lock) -> dict[str, list[str]] | None:
    """Return the files of a trace, if one was recorded with a lock's wheels, by the comment above them."""
    path = path_of(recipe, target)
    if not path.is_file():
        return None
    header, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
    if header != _format_header(lock):
        return None
    blocks: dict[str, list[str]] = {"": []}
    files = blocks[""]
    for line in lines:
        if line.startswith("# "):
            files = blocks[line] = []
        else:
            files.append(line)
    return blocks


def _write_blocks(recipe: Recipe, target: Target, lock: Lock, blocks: Mapping[str, Iterable[str]]) -> None:
    lines = [line for name, files in blocks.items() for line in (*filter(None, [name]), *files)]
    write_atomic(path_of(recipe, target), "\n".join([_format_header(lock), *lines]) + "\n")


def _format_header(lock: Lock) -> str:
    return f"# wheels {lock.digest}"


def get_source(path: str) -> str:
    """Return the path of a bytecode file's source, or the path itself of any other file."""
    match = _BYTECODE.fullmatch(path)
    return f"{match['folder']}{match['module']}.py" if match else path
