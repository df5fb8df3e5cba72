"""Modules to import as part of a prediction: those that are public, and those that they name.

A prediction calls some of a package's functions; whoever uses the layer may call others. So every public
module of the packages in ``[smoke] imports`` is imported, and every module that theirs import anywhere,
within functions too. A tree is the same as another only if each of these imports ends the same.
"""

import ast
import contextlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from layer.builder import tree as trees
from layer.builder.slim.globs import matches

_MODULE = re.compile(r"(?P<path>[^.]+)(?:\.py|(?:\.[\w-]+)?\.so)")
_PLAIN = re.compile(
    r"^[ \t]*(?P<statement>from[ \t]+[\w.]+[ \t]+import[ \t]*(?:\([^()]*\)|[^\n(]+)|import[ \t]+[^\n]+)"
    r"|'[^'\n\\]*'|\"[^\"\n\\]*\"",
    re.MULTILINE,
)
_IMPORTERS = {"import_module", "__import__"}
_NOT_PUBLIC = re.compile(r"_.*|test|tests|test_.*|conftest|setup")


def list_modules(tree: Path, packages: Sequence[str], excluded: Iterable[str] = ()) -> list[str]:
    """Return the names of the packages' public modules, and of all modules of the tree that they import.

    ``packages`` are names to import, such as ``google.protobuf``; files that match ``excluded`` do not count.
    """
    excluded = tuple(excluded)
    files = {file.path for file in trees.files(tree) if not matches(file.path, excluded)}
    known = {name: path for path in sorted(files, reverse=True) if (name := get_name(path))}
    own = [name for name in known if _is_within(name, packages)]
    public = {name for name in own if not any(map(_NOT_PUBLIC.fullmatch, name.split(".")))}
    named: set[str] = set()
    for name in own:
        path = tree / known[name]
        if path.suffix == ".py":
            module = parse(path)
            package = get_package(name, known[name])
            named.update(one for node in walk(module) for one in list_imported(node, package))
    return sorted(public | (named & known.keys()))


def get_name(path: str) -> str:
    """Return the name that imports a file, or nothing if it is not a module."""
    match = _MODULE.fullmatch(path)
    if not match:
        return ""
    parts = match["path"].removesuffix("/__init__").split("/")
    return ".".join(parts) if all(part.isidentifier() for part in parts) and parts[-1] != "__main__" else ""


def get_package(name: str, path: str) -> str:
    """Return the package in which a module's relative imports begin."""
    return name if path.endswith("/__init__.py") else name.rpartition(".")[0]


def parse(path: Path) -> ast.Module:
    """Return a module's source; of one for a newer Python, or a template, its plain imports and strings."""
    source = path.read_bytes()
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        parts = [match["statement"] or match[0] for match in _PLAIN.finditer(source.decode(errors="replace"))]
    module = ast.Module([], [])
    for part in parts:
        with contextlib.suppress(SyntaxError, ValueError):
            module.body += ast.parse(part).body
    return module


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and all below it, but for what is under ``if TYPE_CHECKING``."""
    ahead = [node]
    while ahead:
        node = ahead.pop()
        yield node
        types = isinstance(node, ast.If) and _get_name_of(node.test) == "TYPE_CHECKING"
        ahead += node.orelse if isinstance(node, ast.If) and types else ast.iter_child_nodes(node)


def list_imported(node: ast.AST, package: str) -> Iterator[str]:
    """Yield the modules that a node of a package's module imports."""
    if isinstance(node, ast.Import):
        yield from (one.name for one in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = _resolve(node.module or "", node.level, package)
        yield base
        yield from (f"{base}.{one.name}" for one in node.names)
    elif isinstance(node, ast.Call) and (name := _get_argument(node)):
        level = len(name) - len(name.lstrip("."))
        yield _resolve(name[level:], level, package)


def imports_computed(node: ast.AST) -> bool:
    """Return whether a node is a call that imports a module by a name that it computes."""
    return isinstance(node, ast.Call) and get_called(node) in _IMPORTERS and not _get_argument(node)


def needs_docstring(node: ast.AST) -> bool:
    """Return whether a node is a function that takes a docstring for a string, and never asks if it is."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    below = list(ast.walk(node))
    used = [
        one.left if isinstance(one, ast.BinOp) else one.value
        for one in below
        if isinstance(one, ast.Attribute | ast.Subscript | ast.BinOp)
    ]
    if not any(map(_is_docstring, used)):
        return False
    asked = [one.test for one in below if isinstance(one, ast.If | ast.IfExp | ast.While | ast.Assert)]
    asked += [one for one in below if isinstance(one, ast.BoolOp | ast.Try)]
    return not any(_is_docstring(one) for expression in asked for one in ast.walk(expression))


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "__doc__"


def get_called(node: ast.Call) -> str:
    """Return the last part of the name of what is called."""
    return _get_name_of(node.func)


def get_text(node: ast.AST) -> str:
    """Return a constant string, or an empty one for anything else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def list_packages(tree: Path) -> list[str]:
    """Return the names of a tree's top-level packages and modules."""
    names = {name for file in trees.files(tree) if (name := get_name(file.path))}
    return sorted({name.partition(".")[0] for name in names})


def list_only_imports(script: Path) -> tuple[str, ...]:
    """Return the packages that a smoke script imports, if it calls nothing, and so proves little of them."""
    calls = any(isinstance(node, ast.Call) for node in walk(parse(script)))
    return () if calls else list_script_imports(script)


def list_script_imports(script: Path) -> tuple[str, ...]:
    """Return the packages that a smoke script imports, without the standard library's."""
    found = {name.partition(".")[0] for node in walk(parse(script)) for name in list_imported(node, "")}
    return tuple(sorted(found - sys.stdlib_module_names - {""}))


def get_folders(packages: Iterable[str]) -> tuple[str, ...]:
    """Return globs of all files of packages, and of the libraries beside them."""
    globs = []
    for package in packages:
        path = package.replace(".", "/")
        globs += [f"{path}/**", f"{path}.py", f"{path}.*.so", f"{path.partition('/')[0]}.libs/**"]
    return tuple(globs)


def _is_within(name: str, packages: Iterable[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _get_name_of(node: ast.AST) -> str:
    """Return the last part of a name or of an attribute."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _resolve(name: str, level: int, package: str) -> str:
    """Return the full name of a module that is imported within a package, by so many dots."""
    parts = package.split(".")
    start = parts[: len(parts) - level + 1] if level else []
    return ".".join([*start, *([name] if name else [])])


def _get_argument(node: ast.Call) -> str:
    """Return the constant name that a call imports, if it does."""
    return get_text(node.args[0]) if get_called(node) in _IMPORTERS and node.args else ""
