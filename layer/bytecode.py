"""Byte-compiling a tree for its target, which no cold start can afford to do, and /opt does not let it."""

import os
import subprocess
from pathlib import Path

from layer import tree as trees
from layer.interpreter import Interpreter

_RUNNER = Path(__file__).with_name("compile_runner.py")


class CompileError(RuntimeError):
    """A source does not compile for the target."""


def compile_tree(tree: Path, compiler: Interpreter) -> int:
    """Replace every source by its bytecode, as many at once as there are cores, and return how many.

    Raises:
        CompileError: the message names the file.

    """
    sources = [file.path for file in trees.files(tree) if file.path.endswith(".py")]
    width = os.cpu_count() or 1
    programs = []
    for number in range(width):
        program = subprocess.Popen(
            [*compiler.command, "-s", "-P", "-S", "-B", str(_RUNNER)],
            cwd=tree,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Sets of strings are then in the same order each time.
            env={"PATH": os.environ.get("PATH", ""), "PYTHONHASHSEED": "0", **compiler.environment},
        )
        programs.append((program, "".join(f"{path}\n" for path in sources[number::width])))
    for program, names in programs:
        assert program.stdin is not None  # noqa: S101
        program.stdin.write(names)
        program.stdin.close()
        program.stdin = None
    failures = []
    for program, _ in programs:
        _, errors = program.communicate()
        if program.returncode:
            failures.append(errors.strip())
    if failures:
        raise CompileError("compiling failed:\n" + "\n".join(failures)[-2000:])
    return len(sources)
