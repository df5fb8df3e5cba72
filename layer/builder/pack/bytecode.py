"""Byte-compiling a tree for its target, which no cold start can afford to do, and /opt does not let it."""

import os
import shutil
import subprocess
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from layer.builder import tree as trees
from layer.builder.errors import CompileError, InterpreterError
from layer.builder.pack import interpreter
from layer.builder.pack.interpreter import Interpreter
from layer.builder.pack.kept import DOCSTRINGS, NOTHING, SOURCES, Kept
from layer.builder.slim.globs import matches
from layer.builder.target import Target
from layer.builder.verify.imports import get_name

_RUNNER = Path(__file__).with_name("compile_runner.py")
_WORDS = {NOTHING: "nothing", DOCSTRINGS: "docstrings", SOURCES: "sources"}


def compile_tree(
    tree: Path, compiler: Interpreter, kept: Kept | None = None, sources: Sequence[str] = ()
) -> tuple[int, dict[str, str]]:
    """Replace every source by its bytecode, as many at once as there are cores.

    Packages and modules keep what ``kept`` says, files that match the globs ``sources`` their sources.
    Return how many are compiled, and the errors, by path, of sources that stay because this Python cannot
    read them.
    """
    kept = kept or Kept()
    files = [file for file in trees.files(tree) if file.path.endswith(".py")]
    lines = [f"{_WORDS[_get_level(file, kept, sources)]} {file.path}" for file in files]
    width = os.cpu_count() or 1
    # Sets of strings are then in the same order each time.
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONHASHSEED": "0", **compiler.environment}

    def compile_some(names: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            # Columns are of use only beside a source line, and a tenth of the bytecode.
            [*compiler.command, "-X", "no_debug_ranges", "-s", "-P", "-S", "-B", str(_RUNNER)],
            cwd=tree,
            input="".join(f"{name}\n" for name in names),
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )

    with ThreadPoolExecutor(width) as pool:
        done = list(pool.map(compile_some, [lines[number::width] for number in range(width)]))
    failures = [one.stderr.strip() for one in done if one.returncode]
    if failures:
        raise CompileError("compiling failed:\n" + "\n".join(failures)[-2000:])
    left = dict(sorted(line.split("\t", 1) for one in done for line in one.stdout.splitlines()))
    return len(files) - len(left), left


def remove_second(tree: Path, used: Collection[str]) -> int:
    """Remove bytecode beside sources from all modules but the used ones, and return of how many."""
    cached = [path for path in tree.rglob("__pycache__/*.pyc") if _get_module(path, tree) not in used]
    for path in cached:
        path.unlink()
    for folder in {path.parent for path in cached}:
        if not any(folder.iterdir()):
            folder.rmdir()
    return len(cached)


def provide_compiler(target: Target, cache: Path, say: Callable[[str], None]) -> Interpreter | None:
    """Return a Python whose bytecode is the target's: an installed one, or one that can be fetched."""
    if compiler := interpreter.find_compiler(target, cache):
        return compiler
    try:
        interpreter.fetch_compiler(target, cache, say)
    except InterpreterError as error:
        say(
            f"WARNING: not byte-compiled, so a cold start will be several times slower: there is no "
            f"{target.runtime} here, and none could be fetched ({error}). Install it, build again"
        )
    return interpreter.find_compiler(target, cache)


@contextmanager
def lend_caches(tree: Path, compiler: Interpreter) -> Iterator[None]:
    """Have bytecode beside a tree's sources for a while, for an emulated Python, which compiles slowly.

    Imports still open the sources, to compare their hashes.
    """
    options = ["-q", "-j", "0", "--invalidation-mode", "checked-hash"]
    command = [*compiler.command, "-I", "-S", "-m", "compileall", *options, str(tree)]
    environment = {"PATH": os.environ.get("PATH", ""), **compiler.environment}
    subprocess.run(command, capture_output=True, env=environment, check=False)  # templates do not compile
    try:
        yield
    finally:
        for folder in list(tree.rglob("__pycache__")):
            shutil.rmtree(folder)


def _get_level(file: trees.File, kept: Kept, sources: Sequence[str]) -> int:
    return SOURCES if matches(file.path, sources) else kept.get(file.package, get_name(file.path))


def _get_module(cached: Path, tree: Path) -> str:
    """Return the source of bytecode in a ``__pycache__``."""
    return cached.parent.with_name(f"{cached.name.partition('.')[0]}.py").relative_to(tree).as_posix()
