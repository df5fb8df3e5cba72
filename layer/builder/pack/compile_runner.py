"""Compile a tree for the Python that runs this; ``pack.bytecode`` starts it in the target's Python.

Each ``x.py`` becomes ``x.pyc`` in its place: without documentation strings, which inference does not
read, and with assertions, which guard it. The bytecode is never checked against a source.
"""

import ast
import importlib.util
import marshal
import os
import sys
import warnings

_UNCHECKED_HASH = 0b01  # PEP 552


def compile_module(source: bytes, name: str) -> bytes:
    """Return the bytecode file of a module's source."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an invalid escape sequence is upstream's affair
        module = ast.parse(source, name)
        for node in ast.walk(module):
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
    """Compile the sources that standard input names, one path a line, from the folder of the tree."""
    for line in sys.stdin:
        path = line.rstrip("\n")
        with open(path, "rb") as file:  # noqa: PTH123
            source = file.read()
        try:
            data = compile_module(source, path)
        except Exception as error:  # noqa: BLE001 - whatever it is, it needs the file's name
            raise SystemExit(f"{path}: {type(error).__name__}: {error}") from None
        with open(path + "c", "wb") as file:  # noqa: PTH123
            file.write(data)
        os.unlink(path)  # noqa: PTH108


if __name__ == "__main__":
    main()
