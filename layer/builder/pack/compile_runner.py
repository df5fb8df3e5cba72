"""Compile a tree for the Python that runs this; ``pack.bytecode`` starts it in the target's Python.

Each ``x.py`` becomes ``x.pyc`` in its place, with assertions, which guard it, and without docstrings. A
module may keep its docstrings, or its source too: then its bytecode lies in ``__pycache__``. The bytecode is
never checked against a source. What this Python cannot read stays as it is, as pip leaves it: a module for a
later one, or a template.
"""

import ast
import importlib.util
import itertools
import marshal
import os
import sys
import warnings
from types import CodeType

_UNCHECKED_HASH = 0b01  # PEP 552
_NO_COLUMNS, _NO_LOCATION = 13, 15
_LONGEST = 8
_MORE = 1 << 6


def compile_module(source: bytes, name: str, *, docstrings: bool = False) -> bytes:
    """Return the bytecode file of a module's source, with or without its docstrings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an invalid escape sequence is upstream's affair
        module = ast.parse(source, name)
        for node in () if docstrings else ast.walk(module):
            _strip_docstring(node)
        code = compile(module, name, "exec", dont_inherit=True, optimize=0)
    flags = _UNCHECKED_HASH.to_bytes(4, "little")
    return (
        importlib.util.MAGIC_NUMBER
        + flags
        + importlib.util.source_hash(source)
        + marshal.dumps(join_lines(code))
    )


def join_lines(code: CodeType) -> CodeType:
    """Return the same code with a location for each run of a line's instructions, and none for each of them.

    The compiler writes one for each instruction, columns or not: a tenth of a module's bytecode. The format
    is that of CPython's ``Objects/locations.md``: 3 bits for the length of an entry, up to 8 code units, and
    with it the distance to the line before.
    """
    table = bytearray()
    last = code.co_firstlineno
    for line, run in itertools.groupby(code.co_lines(), key=lambda entry: entry[2]):
        kind = _NO_LOCATION if line is None else _NO_COLUMNS
        for units in range(sum(end - start for start, end, _ in run) // 2, 0, -_LONGEST):
            table.append(0x80 | kind << 3 | min(units, _LONGEST) - 1)
            if line is not None:
                table += _encode_signed(line - last)
                last = line
    constants = (join_lines(one) if isinstance(one, CodeType) else one for one in code.co_consts)
    return code.replace(co_linetable=bytes(table), co_consts=tuple(constants))


def _encode_signed(number: int) -> bytes:
    """Return a number in groups of 6 bits, the lowest first, its sign in the lowest bit."""
    rest = -number << 1 | 1 if number < 0 else number << 1
    groups = bytearray()
    while rest >= _MORE:
        groups.append(rest & _MORE - 1 | _MORE)
        rest >>= 6
    return bytes([*groups, rest])


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
    """Compile the sources that standard input names; each line is what is kept, a space, and a path.

    Those that are left are printed: the path, a tab, and the error.
    """
    for line in sys.stdin:
        kept, path = line.rstrip("\n").split(" ", 1)
        with open(path, "rb") as file:  # noqa: PTH123
            source = file.read()
        try:
            data = compile_module(source, path, docstrings=kept != "nothing")
        except (SyntaxError, ValueError) as error:
            print(path, f"{type(error).__name__}: {error}", sep="\t")
            continue
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
