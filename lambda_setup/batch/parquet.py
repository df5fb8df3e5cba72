"""Arrays of any number of lines as a Parquet file, by pyarrow, a row group at a time.

It has a row for each line and each number of an array within it: ``index``, ``item``, and of each kind
``<kind>_values``, flat in C order, and ``<kind>_shape``; both are null where the line has fewer of the kind.
"""

import itertools
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

from lambda_inference._predictor import DTYPES
from lambda_setup.batch.arrays import ArraysWriter, Kind
from lambda_setup.errors import CommandError

_GROUP = 16 << 20
"""Bytes of a row group, which is in memory while it is written."""
_ROW = 500
"""Bytes that a row takes in memory beside its numbers."""

_Cell = tuple[tuple[int, int], str, Sequence[int], bytes]
"""An array: its line and its number within it, its kind, its shape and its numbers."""


class ParquetWriter(ArraysWriter):
    """A Parquet file that is written line by line, and whole or not at all."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            self._arrow: Any = import_module("pyarrow")
            self._parquet: Any = import_module("pyarrow.parquet")
        except ImportError as error:
            raise CommandError(
                f"{path.name}: Parquet is written by pyarrow ({error}). Install it, or give a name that ends "
                f"in .npz: {sys.executable} -m pip install pyarrow"
            ) from None

    def _write(self, path: Path, kinds: Mapping[str, Kind]) -> None:
        """Write a file of all kinds."""
        arrow = self._arrow
        fields = [("index", arrow.int64()), ("item", arrow.int64())]
        for name, kind in kinds.items():
            fields.append((f"{name}_values", arrow.list_(self._find_type(kind))))
            fields.append((f"{name}_shape", arrow.list_(arrow.int64())))
        schema = arrow.schema(fields)
        with self._parquet.ParquetWriter(path, schema, use_dictionary=False) as file:
            for rows in _group(kinds):
                columns = [
                    arrow.array([place[number] for place, _ in rows], arrow.int64()) for number in (0, 1)
                ]
                for name, kind in kinds.items():
                    columns += self._build_columns([cells.get(name) for _, cells in rows], kind)
                file.write_table(arrow.Table.from_arrays(columns, schema=schema), row_group_size=len(rows))

    def _build_columns(self, cells: Sequence[_Cell | None], kind: Kind) -> tuple[Any, Any]:
        """Return the numbers and the shapes of a kind, in a row group."""
        arrow, size = self._arrow, DTYPES[kind.dtype][2]
        data = b"".join(cell[3] for cell in cells if cell)
        ends = itertools.accumulate(len(cell[3]) // size if cell else 0 for cell in cells)
        starts = [0, *ends]
        offsets = [start if cell else None for start, cell in zip(starts, cells, strict=False)]
        numbers = arrow.Array.from_buffers(
            self._find_type(kind), len(data) // size, [None, arrow.py_buffer(data)]
        )
        return (
            arrow.ListArray.from_arrays(arrow.array([*offsets, starts[-1]], arrow.int32()), numbers),
            arrow.array([cell and list(cell[2]) for cell in cells], arrow.list_(arrow.int64())),
        )

    def _find_type(self, kind: Kind) -> Any:
        return getattr(self._arrow, DTYPES[kind.dtype][0])()


def _group(kinds: Mapping[str, Kind]) -> Iterator[list[tuple[tuple[int, int], dict[str, _Cell]]]]:
    """Yield the rows of each row group: a place, and its arrays by kind."""
    rows: list[tuple[tuple[int, int], dict[str, _Cell]]] = []
    size = 0
    everything = merge(*(_read(name, kind) for name, kind in kinds.items()))
    for place, cells in itertools.groupby(everything, key=lambda cell: cell[0]):
        rows.append((place, {cell[1]: cell for cell in cells}))
        size += _ROW + sum(len(cell[3]) for cell in rows[-1][1].values())
        if size >= _GROUP:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def _read(name: str, kind: Kind) -> Iterator[_Cell]:
    """Yield the arrays of a kind in their order."""
    row, size = struct.Struct(f"<{2 + kind.rank}q"), DTYPES[kind.dtype][2]
    kind.index.seek(0)
    kind.values.seek(0)
    for _ in range(kind.rows):
        line, number, *shape = row.unpack(kind.index.read(row.size))
        yield (line, number), name, shape, kind.values.read(size * prod(shape))
