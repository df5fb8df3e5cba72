"""Compile a tree, with the docstrings and sources that it turns out to read, and verify its answer."""

import ast
import json
import re
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from layer.builder import tree as trees
from layer.builder.errors import CompileError, SmokeError
from layer.builder.pack import bytecode
from layer.builder.pack.interpreter import Interpreter
from layer.builder.pack.kept import DOCSTRINGS, NOTHING, SOURCES, Failure, Kept, decide
from layer.builder.verify import imports
from layer.builder.verify.compare import differences
from layer.builder.verify.smoke import Outcome

_FRAME = re.compile(r'File "(?P<path>[^"]+)", line')
_SOUGHT = re.compile(r"\b(FileNotFound|OS)Error\b")
"""What a search for a source ends with: ``inspect.getsource``, or a file that is read."""


@dataclass
class Compiler:
    """Compiles a tree by trial: on the compiled copy, ``predict`` must return what is ``expected``.

    Packages that are ``documented`` keep their docstrings. ``outcome`` is what it returned last.
    """

    tree: Path
    interpreter: Interpreter
    sources: Sequence[str]
    predict: Callable[[Path], Outcome]
    expected: Outcome
    say: Callable[[str], None]
    documented: Collection[str] = ()

    def __post_init__(self) -> None:
        self._copy = self.tree.with_name("compiled")
        self._compiled: Kept | None = None
        self._done = bytecode.Compiled(0)
        self.outcome = self.expected

    def run(self, recorded: Kept | None, guess: Kept | None) -> tuple[bytecode.Compiled, Kept]:
        """Compile the tree; return what became of its modules, and what was kept.

        What is ``recorded`` is not tried again; trying starts with a record that no longer holds, or with a
        ``guess``. A tree that cannot be compiled without a difference is a CompileError.
        """
        kept = recorded
        lacking = kept is None or any(kept.get(one) == NOTHING for one in self.documented)
        if kept is None or lacking or self.list_failures(kept):
            packages = {file.package for file in trees.files(self.tree) if file.path.endswith(".py")}
            first = kept or guess or Kept()
            kept = decide(packages, first, self.list_failures, self.documented, self._list_imported)
        if self._compiled != kept and (left := self.list_failures(kept)):
            raise CompileError(f"compiled to bytecode, the tree answers differently: {left[0].text}")
        shutil.rmtree(self.tree)
        self._copy.rename(self.tree)
        return self._done, kept

    def list_failures(self, kept: Kept) -> list[Failure]:
        """Compile a copy of the tree, and return how it differs; of differing imports, each that fails."""
        self.say(f"  {kept.format_levels() or 'without any docstrings and sources'} …")
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self.tree, self._copy, copy_function=_link)
        self._done = bytecode.compile_tree(self._copy, self.interpreter, kept, self.sources)
        self._compiled = kept
        try:
            self.outcome = outcome = self.predict(self._copy)
        except SmokeError as error:
            paths = [match["path"] for match in _FRAME.finditer(str(error))]
            return [_fail(str(error), self._get_modules(paths))]
        if outcome.answer != self.expected.answer:
            places = differences(json.loads(outcome.answer), json.loads(self.expected.answer))[:10]
            return [Failure("\n  ".join(["", *places]))]
        return [
            _fail(f"importing {name}: {error}", self._get_modules(outcome.failures.get(name, ("",))[1:]))
            for name, error in (outcome.errors.items() | self.expected.errors.items())
            if outcome.errors.get(name) != self.expected.errors.get(name)
        ]

    def _get_modules(self, paths: Sequence[str]) -> tuple[str, ...]:
        """Return the modules of a traceback's files; those of compiled modules are relative to the tree."""
        relative = (path.removeprefix(f"{self._copy.resolve()}/") for path in paths)
        inside = [path for path in relative if not path.startswith(("/", "<"))]
        return tuple(imports.get_name(path) or trees.File(path, 0).package for path in inside)

    @cached_property
    def _paths(self) -> dict[str, str]:
        """The sources of the tree, by the names that import them."""
        paths = (file.path for file in trees.files(self.tree))
        return {imports.get_name(path): path for path in paths if path.endswith(".py")}

    def _list_imported(self, module: str) -> list[str]:
        """Return the modules that a module imports, and those that the classes of these inherit from."""
        imported = self._read_imports(module, inherited=False)
        return sorted(imported.union(*(self._read_imports(one, inherited=True) for one in imported)))

    def _read_imports(self, module: str, *, inherited: bool) -> set[str]:
        """Return the modules inside packages that a module imports; if so, only for its classes' bases."""
        path = self._paths.get(module)
        if path is None:
            return set()
        package = imports.get_package(module, path)
        nodes = list(ast.walk(imports.parse(self.tree / path)))
        if inherited:
            classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
            bases = {base.id for node in classes for base in node.bases if isinstance(base, ast.Name)}
            nodes = [node for node in nodes if isinstance(node, ast.ImportFrom)
                     and any((one.asname or one.name) in bases for one in node.names)]  # fmt: skip
        names = {name for node in nodes for name in imports.list_imported(node, package)}
        return {name for name in names if "." in name and name in self._paths}


def _fail(text: str, modules: tuple[str, ...]) -> Failure:
    return Failure(text, modules, SOURCES if _SOUGHT.search(text) else DOCSTRINGS)


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)
