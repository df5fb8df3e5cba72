"""Compile a tree for the Python that runs this; ``pack.bytecode`` starts it in the target's Python.

Each ``x.py`` becomes ``x.pyc`` in its place, with assertions, which guard it, and without docstrings. A
module may keep its docstrings, or its source too: then its bytecode lies in ``__pycache__``. The bytecode is
never checked against a source.
"""

import ast
import importlib.util
import marshal
import os
import sys
import warnings

_UNCHECKED_HASH = 0b01  # PEP 552


def compile_module(source: bytes, name: str, *, docstrings: bool = False) -> bytes:
    """Return the bytecode file of a module's source, with or without its docstrings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an invalid escape sequence is upstream's affair
        module = ast.parse(source, name)
        for node in () if docstrings else ast.walk(module):
            _strip_docstring(node)
        code = compile(module, name, "exec", dont_inherit=True, optimize=0)
    flags = _UNCHECKED_HASH.to_bytes(4, "little")
    return importlib.util.MAGIC_NUMBER + flags + importlib.util.source_hash(source) + marshal.dumps(code)


def _strip_docstring(node: ast.AST) -> None:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return
    if ast.get_docstring(node, clean=False) is None:
        return
    first = node.body[0]
    rest = node.body[1:]
    if not rest and not isinstance(node, ast.Module):
        rest = [ast.copy_location(ast.Pass(), first)]
    node.body = rest


def main() -> None:
    """Compile the sources that standard input names; each line is what is kept, a space, and a path."""
    for line in sys.stdin:
        kept, path = line.rstrip("\n").split(" ", 1)
        with open(path, "rb") as file:  # noqa: PTH123
            source = file.read()
        try:
            data = compile_module(source, path, docstrings=kept != "nothing")
        except Exception as error:  # noqa: BLE001 - whatever it is, it needs the file's name
            raise SystemExit(f"{path}: {type(error).__name__}: {error}") from None
        if kept == "sources":
            compiled = importlib.util.cache_from_source(path, optimization="")
            os.makedirs(os.path.dirname(compiled), exist_ok=True)  # noqa: PTH103, PTH120
        else:
            compiled = path + "c"
            os.unlink(path)  # noqa: PTH108
        with open(compiled, "wb") as file:  # noqa: PTH123
            file.write(data)


if __name__ == "__main__":
    main()
