"""Compress bytecode for the Python that runs this: ``pack.bytecode`` starts it in the target's Python.

A compressed ``x.pyc`` is a module of one line that decompresses the module's code and executes it in its own
namespace. Decompressing takes about as long as reading the code does, and compiling 50 times as long.
"""

import marshal
import sys
import zlib

_HEADER = 16  # PEP 552


def compress_module(data: bytes, name: str) -> bytes:
    """Return a bytecode file with its code compressed; ``name`` is that of its source."""
    code = zlib.compress(data[_HEADER:], 9)
    line = f"exec(__import__('marshal').loads(__import__('zlib').decompress({code!r})))"
    return data[:_HEADER] + marshal.dumps(compile(line, name, "exec", dont_inherit=True))


def main() -> None:
    """Compress the files that standard input names until as many bytes as the first line says are saved.

    Those that became smaller are printed.
    """
    excess, *paths = sys.stdin.read().splitlines()
    left = int(excess)
    for path in paths:
        if left <= 0:
            break
        with open(path, "rb") as file:  # noqa: PTH123
            data = file.read()
        smaller = compress_module(data, path.removesuffix("c"))
        if len(smaller) < len(data):
            with open(path, "wb") as file:  # noqa: PTH123
                file.write(smaller)
            left -= len(data) - len(smaller)
            print(path)


if __name__ == "__main__":
    main()
