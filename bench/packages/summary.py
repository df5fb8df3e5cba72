"""What the records say together: how many are proven, and the ratios of sizes and import times."""

import math
import statistics
from collections.abc import Iterable, Sequence

from bench.packages import catalogue, records
from bench.packages.records import Record

ONE_LIBRARY = 0.8
"""A package is one library if a single file has more than this part of the usual tree's bytes."""


def read_records(target: str) -> list[Record]:
    """Return the records of a target, in the catalogue's order."""
    found = (records.read(name, target) for name in catalogue.read())
    return [record for record in found if record is not None]


def is_one_library(record: Record) -> bool:
    """Return whether a single shared library is nearly all of a package, so that little can be left out."""
    return record.largest > ONE_LIBRARY * record.bytes.get("usual", record.largest + 1)


def compare_size(record: Record) -> float | None:
    """Return the bytes of our tree as a ratio to the usual one's, if it was built.

    It is rounded up: a tree that is larger by a byte has more than 1.
    """
    ours = record.bytes.get("ours")
    return None if ours is None else math.ceil(10_000 * ours / record.bytes["usual"]) / 10_000


def list_sizes(found: Iterable[Record], *, one_library: bool) -> list[float]:
    """Return the ratios of the packages that are one library, or of the others."""
    sizes = (compare_size(record) for record in found if is_one_library(record) == one_library)
    return [size for size in sizes if size is not None]


def list_import_times(found: Iterable[Record], kind: str) -> list[float]:
    """Return each package's median ratio of import time to that of the kind of tree."""
    return [statistics.median(record.imports[kind]) for record in found if record.imports.get(kind)]


def count_proven(found: Sequence[Record]) -> int:
    """Return how many libraries are proven, the second script included."""
    return sum(record.is_proven for record in found)
