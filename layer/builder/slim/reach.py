"""What the code of a layer names beyond what a prediction opened: modules, data, and the libraries of both.

A prediction calls some functions. Others import more when they are called, and read data then: the
certificates of an HTTPS client, the polynomials of numpy. So what stays is followed to what its source names,
as long as that leads to more.
"""

import ast
import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from layer.builder import tree as trees
from layer.builder.errors import ElfError
from layer.builder.recipe import normalise
from layer.builder.slim.elf import is_elf, read_needs
from layer.builder.verify import imports
from layer.builder.verify.imports import (
    get_called,
    get_name,
    get_package,
    get_text,
    imports_computed,
    list_imported,
    needs_docstring,
    parse,
    walk,
)

_READS = re.compile(rb"__doc__|\bget(doc|source)|cleandoc")
_METADATA = re.compile(r"(?P<name>[^/]+?)-[^-/]+\.dist-info/(METADATA|entry_points\.txt)")
_ASKS = {"distribution", "entry_points", "get_distribution", "metadata", "requires", "version"}
"""Functions of ``importlib.metadata`` and ``pkg_resources`` that are asked about a distribution."""
_OWN = {"__name__", "__package__"}
_TEXT = re.compile(rb"[ -~]{6,}")
_SHORTEST = 6
"""Characters of a name that is looked for in an extension."""
_LONGEST = 100
"""Characters of a string that may name a file."""


def follow(tree: Path, start: Iterable[str]) -> set[str]:
    """Return the files that those of ``start`` lead to, themselves included.

    A module leads to those that it imports anywhere but for types alone, and to the modules and files of its
    package that its strings name, or whose folder they name. A library leads to those that it is linked to,
    and only its own name leads to it. An extension leads to the files of its package that it names, and to
    all that the source beside it does. A name that a package imports when it is asked for leads to the module
    that has it. A distribution whose version or entry points are asked for keeps its metadata. Where a
    package imports by names that it computes, strings that name a folder or a module beside them, or begin
    the names of modules, lead to these modules, too.
    """
    files = {file.path: file for file in trees.files(tree)}
    modules = {name: path for path in sorted(files, reverse=True) if (name := get_name(path))}
    names = {path: name for name, path in modules.items()}
    sources = {name: path for path in files if path.endswith(".py") and (name := get_name(path))}
    lazy = _Lazy(tree, sources)
    binaries = {path for path in files if path not in names and is_elf(tree / path)}
    by_name = {PurePosixPath(path).name: path for path in binaries}
    data = _group_data(files.values(), names, binaries)
    zones = [path for path in files if path.startswith("tzdata/")]
    computed, described = _Computed(modules), _Described(files)
    found: set[str] = set()
    ahead = {path for path in start if path in files}
    while ahead:
        path = ahead.pop()
        found.add(path)
        # An extension imports what the source beside it does, of which it is compiled.
        if source := sources.get(names.get(path, "")):
            module = list(walk(parse(tree / source)))
            own = data.get(files[path].package, {})
            ahead |= set(_follow_module(module, source, names[path], modules, own, zones, lazy))
            package = get_package(names[path], source)
            ahead |= computed.add(module, names[path], package) | described.find(module, names[path])
        if path in binaries or path.endswith(".so"):
            ahead |= {by_name[one] for one in _list_needs(tree / path) if one in by_name}
            if path in names:
                ahead |= _find_data(tree / path, data.get(files[path].package, {}))
        ahead -= found
    return found


class _Described:
    """The metadata of distributions, by their normalised names."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.files: dict[str, set[str]] = {}
        for path in paths:
            if match := _METADATA.fullmatch(path):
                self.files.setdefault(normalise(match["name"]), set()).add(path)

    def find(self, module: Iterable[ast.AST], name: str) -> set[str]:
        """Return the files of the distributions that calls in a module ask for."""
        calls = (node for node in module if isinstance(node, ast.Call) and node.args)
        asked = (node.args[0] for node in calls if get_called(node) in _ASKS)
        top = name.partition(".")[0]
        names = (top if isinstance(one, ast.Name) and one.id in _OWN else get_text(one) for one in asked)
        return {path for one in names for path in self.files.get(normalise(one), ())}


def digest() -> str:
    """Return the SHA-256 of the rules by which files are found: what others found may be less."""
    return hashlib.sha256(
        b"".join(Path(one).read_bytes() for one in (__file__, imports.__file__))
    ).hexdigest()


def list_readers(tree: Path, paths: Iterable[str]) -> list[str]:
    """Return the names of modules whose code speaks of documentation or sources: it may read others'."""
    sources = [path for path in paths if path.endswith(".py") and (tree / path).is_file()]
    return [get_name(path) for path in sources if _READS.search((tree / path).read_bytes())]


def list_documented(tree: Path, paths: Iterable[str]) -> set[str]:
    """Return the packages in which functions fail where an object has no docstring."""
    sources = [path for path in paths if path.endswith(".py") and (tree / path).is_file()]
    asking = [path for path in sources if b".__doc__" in (tree / path).read_bytes()]
    return {
        trees.File(path, 0).package
        for path in asking
        if any(map(needs_docstring, ast.walk(parse(tree / path))))
    }


class _Lazy:
    """The modules that packages import when a name of theirs is asked for; ``sources`` are all by name."""

    def __init__(self, tree: Path, sources: Mapping[str, str]) -> None:
        self.tree = tree
        self.sources = sources
        self.known: dict[str, dict[str, set[str]]] = {}

    def find(self, package: str, name: str) -> set[str]:
        """Return the full names of what a package's name may stand for."""
        if package not in self.known:
            path = self.sources.get(package, "")
            self.known[package] = self._read(path, package) if path else {}
        return self.known[package].get(name, set())

    def _read(self, path: str, name: str) -> dict[str, set[str]]:
        text = (self.tree / path).read_bytes()
        if b"__getattr__" not in text and b"sys.modules[__name__]" not in text:
            return {}
        package = get_package(name, path)
        found: dict[str, set[str]] = {}
        # What is imported for type checkers says where the names are.
        for node in ast.walk(parse(self.tree / path)):
            if isinstance(node, ast.ImportFrom):
                base = next(list_imported(node, package))
                for one in node.names:
                    found.setdefault(one.asname or one.name, set()).add(f"{base}.{one.name}")
            for key, value in zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ():
                text_key, texts = get_text(key) if key else "", [get_text(one) for one in ast.walk(value)]
                for text_value in filter(None, texts):
                    for module, one in ((text_value, text_key), (text_key, text_value)):
                        if (full := _join(package, module)) in self.sources and one.isidentifier():
                            found.setdefault(one, set()).add(f"{full}.{one}")
        return found


def _join(package: str, name: str) -> str:
    """Return the full name of a module that a table of a package names, with a dot before it or without."""
    return name if name.startswith(f"{package}.") else f"{package}.{name.lstrip('.')}"


class _Computed:
    """The modules that packages may import by names that they compute; ``modules`` are all by their names."""

    def __init__(self, modules: Mapping[str, str]) -> None:
        self.folders: dict[tuple[str, str], set[str]] = {}
        for name, path in modules.items():
            for part in path.split("/")[1:-1]:
                self.folders.setdefault((name.partition(".")[0], part), set()).add(name)
        self.modules = modules
        self.strings: dict[str, set[tuple[str, str]]] = {}
        self.packages: set[str] = set()

    def add(self, module: Sequence[ast.AST], name: str, package: str) -> set[str]:
        """Take a module in, and return the files that it and those of its package before it lead to."""
        top = name.partition(".")[0]
        strings = self.strings.setdefault(top, set())
        # Its users name what they ask such a module for.
        lazy = any(getattr(node, "name", "") == "__getattr__" for node in ast.iter_child_nodes(module[0]))
        new = set() if lazy else {(one, package) for one in _list_strings(module)} - strings
        strings |= new
        if any(map(imports_computed, module)) and not lazy and top not in self.packages:
            self.packages.add(top)
            new = strings
        return {path for one in new for path in self._find(*one, top)} if top in self.packages else set()

    def _find(self, string: str, package: str, top: str) -> Iterator[str]:
        names = {*self.folders.get((top, string), ()), f"{package}.{string}"} & self.modules.keys()
        if string.startswith(f"{top}.") and string.count(".") > 1 and string.endswith((".", "_")):
            names |= {name for name in self.modules if name.startswith(string)}
        for name in names:
            yield from _list_modules(name, self.modules)


def _list_strings(module: Iterable[ast.AST]) -> Iterator[str]:
    for node in module:
        if (text := get_text(node)) and len(text) <= _LONGEST:
            yield text


def _group_data(
    files: Iterable[trees.File], modules: Collection[str], binaries: Collection[str]
) -> dict[str, dict[str, list[str]]]:
    """Return, by package, its files other than modules, by each of the names that may lead to them."""
    data: dict[str, dict[str, list[str]]] = {}
    for file in files:
        if file.path not in modules and not file.path.endswith(".py"):
            parts = file.path.split("/")[1:]
            for part in parts[-1:] if file.path in binaries else parts:
                data.setdefault(file.package, {}).setdefault(part, []).append(file.path)
    return data


def _follow_module(
    module: Sequence[ast.AST],
    path: str,
    name: str,
    modules: Mapping[str, str],
    data: Mapping[str, list[str]],
    zones: Iterable[str],
    lazy: _Lazy,
) -> Iterator[str]:
    package = get_package(name, path)
    own = f"{name.partition('.')[0]}."
    imported = {one for node in module for one in list_imported(node, package)}
    if "zoneinfo" in imported:  # a system need not have time zones
        yield from zones
    for one in imported | set(_list_attributes(module, package)):
        yield from _list_modules(one, modules, lazy)
    for string in _list_strings(module):
        for part in string.split("/"):
            yield from data.get(part, ())
        if string.startswith(own):
            yield from _list_modules(string, modules)


def _find_data(extension: Path, data: Mapping[str, list[str]]) -> set[str]:
    """Return the data whose names are in an extension, or whose folder's is.

    Compilers put strings one after the other, without an end: what is short would be found by chance.
    """
    names = [name for name in data if len(name) >= _SHORTEST]
    text = b"\0".join(_TEXT.findall(extension.read_bytes())) if names else b""
    return {path for name in names if name.encode() in text for path in data[name]}


def _list_attributes(module: Iterable[ast.AST], package: str) -> Iterator[str]:
    """Yield the full names of the attributes of imported modules: some are modules that these import then."""
    aliases: dict[str, set[str]] = {}
    attributes = []
    for node in module:
        if isinstance(node, ast.Import):
            for one in node.names:
                top = one.name.partition(".")[0]
                aliases.setdefault(one.asname or top, set()).add(one.name if one.asname else top)
        elif isinstance(node, ast.ImportFrom):
            base = next(list_imported(node, package))
            for one in node.names:
                aliases.setdefault(one.asname or one.name, set()).add(f"{base}.{one.name}")
        elif isinstance(node, ast.Attribute):
            attributes.append(node)
    for node in attributes:
        parts, value = [node.attr], node.value
        while isinstance(value, ast.Attribute):
            parts, value = [value.attr, *parts], value.value
        for base in aliases.get(value.id, ()) if isinstance(value, ast.Name) else ():
            yield ".".join([base, *parts])


def _list_modules(
    name: str, modules: Mapping[str, str], lazy: _Lazy | None = None, seen: frozenset[str] = frozenset()
) -> Iterator[str]:
    """Yield the files of the modules that importing a name, perhaps of something in a module, imports."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        start = ".".join(parts[:end])
        if known := modules.get(start):
            yield known
        elif lazy and start not in seen:
            for one in lazy.find(".".join(parts[: end - 1]), parts[end - 1]):
                yield from _list_modules(one, modules, lazy, seen | {start})


def _list_needs(path: Path) -> tuple[str, ...]:
    try:
        return read_needs(path).libraries
    except ElfError:
        return ()
