"""Byte-compiling a tree for its target, which no cold start can afford to do, and /opt does not let it."""

import os
import shutil
import subprocess
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from layer.builder import tree as trees
from layer.builder.errors import CompileError, InterpreterError
from layer.builder.pack import interpreter
from layer.builder.pack.interpreter import Interpreter
from layer.builder.pack.kept import DOCSTRINGS, NOTHING, SOURCES, Kept
from layer.builder.slim.globs import matches
from layer.builder.target import Target
from layer.builder.verify.imports import get_name

_COMPILE = Path(__file__).with_name("compile_runner.py")
_COMPRESS = Path(__file__).with_name("compress_runner.py")
_WORDS = {NOTHING: "nothing", DOCSTRINGS: "docstrings", SOURCES: "sources"}


@dataclass(frozen=True)
class Compiled:
    """What became of a tree's modules.

    Attributes:
        count: how many are bytecode now.
        left: the errors, by path, of sources that stay because this Python cannot read them.
        compressed: how many of the compiled ones are compressed.

    """

    count: int
    left: dict[str, str] = field(default_factory=dict)
    compressed: int = 0


def compile_tree(
    tree: Path, compiler: Interpreter, kept: Kept | None = None, sources: Sequence[str] = ()
) -> Compiled:
    """Replace every source by its bytecode, as many at once as there are cores.

    Packages and modules keep what ``kept`` says, files that match the globs ``sources`` their sources.
    Bytecode that outweighs its sources is compressed.
    """
    kept = kept or Kept()
    files = [file for file in trees.files(tree) if file.path.endswith(".py")]
    lines = [f"{_WORDS[_get_level(file, kept, sources)]} {file.path}" for file in files]
    width = os.cpu_count() or 1
    with ThreadPoolExecutor(width) as pool:
        parts = [lines[number::width] for number in range(width)]
        done = list(pool.map(lambda part: _run(compiler, _COMPILE, part, tree), parts))
    left = dict(sorted(line.split("\t", 1) for part in done for line in part))
    return Compiled(len(files) - len(left), left, _compress(tree, compiler, files))


def _compress(tree: Path, compiler: Interpreter, files: Sequence[trees.File]) -> int:
    """Compress bytecode, the largest first, where it and the notices outweigh the sources that were there.

    Few trees need it: code that is dense, with hardly a docstring or a comment. Return of how many modules.
    """
    sizes = {f"{file.path}c": (tree / f"{file.path}c").stat().st_size
             for file in files if not (tree / file.path).exists()}  # fmt: skip
    sources = sum(file.size for file in files if f"{file.path}c" in sizes)
    notices = sum(file.size for file in trees.files(tree) if ".dist-info/" in file.path)
    excess = sum(sizes.values()) + notices - sources
    if excess <= 0:
        return 0
    largest = sorted(sizes, key=lambda path: (-sizes[path], path))
    return len(_run(compiler, _COMPRESS, [str(excess), *largest], tree))


def _run(compiler: Interpreter, runner: Path, lines: Sequence[str], tree: Path) -> list[str]:
    """Have the target's Python do what the lines say in a tree; return the lines that it prints."""
    done = subprocess.run(
        # Columns are of use only beside a source line, and a tenth of the bytecode.
        [*compiler.command, "-X", "no_debug_ranges", "-s", "-P", "-S", "-B", str(runner)],
        cwd=tree,
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        # Sets of strings are then in the same order each time.
        env={"PATH": os.environ.get("PATH", ""), "PYTHONHASHSEED": "0", **compiler.environment},
        check=False,
    )
    if done.returncode:
        raise CompileError(f"compiling failed:\n{done.stderr.strip()[-2000:]}")
    return done.stdout.splitlines()


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
