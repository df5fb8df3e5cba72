"""Arrays of any number of lines as one file, written in constant memory.

Of each kind an npz holds ``<kind>_values``, all numbers flat in C order, and ``<kind>_index`` (int64), a row
an array: the line, the array's number within it, its shape. The members lie uncompressed.
"""

import contextlib
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from lambda_inference import Array
from lambda_inference._predictor import DTYPES
from lambda_inference._results import encode_header
from lambda_setup.errors import CommandError

_BLOCK = 1 << 20


@dataclass
class Kind:
    """The arrays of a kind so far, in files whose lengths become known at the end."""

    dtype: str
    rank: int
    values: IO[bytes]
    index: IO[bytes]
    rows: int = 0
    bytes: int = 0


class ArraysWriter:
    """An npz that is written line by line, and whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kinds: dict[str, Kind] = {}
        self._files = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def add(self, line: int, arrays: Mapping[str, Sequence[Array]]) -> None:
        """Write the arrays of a line; CommandError if a kind changes its type or its dimensions."""
        for name, group in arrays.items():
            for number, array in enumerate(group):
                kind = self._kinds.get(name) or self._begin(name, array)
                if (kind.dtype, kind.rank) != (array.dtype, len(array.shape)):
                    raise CommandError(
                        f"{name} of line {line} is {_describe(array.dtype, len(array.shape))}, and that of "
                        f"the lines before {_describe(kind.dtype, kind.rank)}; leave out --arrays"
                    )
                kind.values.write(array.data)
                kind.index.write(struct.pack(f"<{2 + kind.rank}q", line, number, *array.shape))
                kind.rows += 1
                kind.bytes += len(array.data)

    def finish(self) -> dict[str, int]:
        """Write the file, and return the number of arrays of each kind."""
        partial = self._path.with_name(f".{self._path.name}.partial")
        try:
            self._write(partial, self._kinds)
            partial.replace(self._path)
        finally:
            partial.unlink(missing_ok=True)
        return {name: kind.rows for name, kind in self._kinds.items()}

    def _write(self, path: Path, kinds: Mapping[str, Kind]) -> None:
        """Write a file of all kinds."""
        with zipfile.ZipFile(path, "w") as archive:
            for name, kind in kinds.items():
                _, spelling, itemsize = DTYPES[kind.dtype]
                shape = (kind.rows, 2 + kind.rank)
                headers = (encode_header(spelling, (kind.bytes // itemsize,)), encode_header("<i8", shape))
                for member, header, file in zip(
                    ("values", "index"), headers, (kind.values, kind.index), strict=True
                ):
                    file.seek(0)
                    with archive.open(f"{name}_{member}.npy", "w", force_zip64=True) as out:
                        out.write(header)
                        shutil.copyfileobj(file, out, _BLOCK)

    def _begin(self, name: str, array: Array) -> Kind:
        def spool() -> IO[bytes]:
            file = tempfile.TemporaryFile(dir=self._path.parent)  # noqa: SIM115 - the stack closes it
            return self._files.enter_context(file)

        return self._kinds.setdefault(name, Kind(array.dtype, len(array.shape), spool(), spool()))


def _describe(dtype: str, rank: int) -> str:
    return f"{DTYPES[dtype][0]} of {rank} dimensions"
