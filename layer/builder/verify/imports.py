"""Modules to import as part of a prediction: those that are public, and those that they name.

A prediction calls some of a package's functions; whoever uses the layer may call others. So every public
module of the packages in ``[smoke] imports`` is imported, and every module that theirs import anywhere,
within functions too. A tree is the same as another only if each of these imports ends the same.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from layer.builder import tree as trees
from layer.builder.slim.globs import matches

_MODULE = re.compile(r"(?P<path>[^.]+)(?:\.py|(?:\.[\w-]+)?\.so)")
_NOT_PUBLIC = re.compile(r"_.*|test|tests|test_.*|conftest|setup")


def list_modules(tree: Path, packages: Sequence[str], excluded: Iterable[str] = ()) -> list[str]:
    """Return the names of the packages' public modules, and of all modules of the tree that they import.

    ``packages`` are names to import, such as ``google.protobuf``; files that match ``excluded`` do not count.
    """
    excluded = tuple(excluded)
    files = {file.path for file in trees.files(tree) if not matches(file.path, excluded)}
    known = {name: path for path in sorted(files, reverse=True) if (name := _get_name(path))}
    own = [name for name in known if _is_within(name, packages)]
    public = {name for name in own if not any(map(_NOT_PUBLIC.fullmatch, name.split(".")))}
    named: set[str] = set()
    for name in own:
        if known[name].endswith(".py"):
            named.update(_list_imported(tree / known[name], name))
    return sorted(public | (named & known.keys()))


def list_packages(tree: Path) -> list[str]:
    """Return the names of a tree's top-level packages and modules."""
    names = {name for file in trees.files(tree) if (name := _get_name(file.path))}
    return sorted({name.partition(".")[0] for name in names})


def list_only_imports(script: Path) -> tuple[str, ...]:
    """Return the packages that a smoke script imports, if it calls nothing, and so proves little of them."""
    module = ast.parse(script.read_bytes())
    names: list[str] = []
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            return ()
        if isinstance(node, ast.Import):
            names += [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
    packages = {name.partition(".")[0] for name in names}
    return tuple(sorted(packages - sys.stdlib_module_names))


def get_folders(packages: Iterable[str]) -> tuple[str, ...]:
    """Return globs of all files of packages, and of the libraries beside them."""
    globs = []
    for package in packages:
        path = package.replace(".", "/")
        globs += [f"{path}/**", f"{path}.py", f"{path}.*.so", f"{path.partition('/')[0]}.libs/**"]
    return tuple(globs)


def _get_name(path: str) -> str:
    """Return the name that imports a file, or nothing if it is not a module."""
    match = _MODULE.fullmatch(path)
    if not match:
        return ""
    parts = match["path"].removesuffix("/__init__").split("/")
    return ".".join(parts) if all(part.isidentifier() for part in parts) and parts[-1] != "__main__" else ""


def _is_within(name: str, packages: Iterable[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _list_imported(path: Path, name: str) -> Iterator[str]:
    """Yield the modules that a module's source imports, at the top or within its functions."""
    try:
        module = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # for another Python, or a template
        return
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{one.name}" for one in node.names)
