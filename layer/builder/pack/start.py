"""The list of what a start reads of a layer; the runtime reads it ahead (``lambda_inference._read_ahead``).

Those are the files that the prediction opened. Of a large library a start reads some pages: unless it is
split, so that most of these are known, it is left to the dynamic loader.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from layer.builder import tree as trees

NAME = "layer_start.txt"
"""The file beside the marker."""
WHOLE = 4 << 20
"""Bytes of the largest file that is read whole."""

Piece = tuple[int, int]
"""The first byte of a piece of a file, and its length in bytes."""


def write(python: Path, opened: Iterable[str], split: Mapping[str, Sequence[Piece]]) -> None:
    """Write the list into a layer's ``python`` folder.

    Args:
        python: the folder.
        opened: paths of the files that the prediction opened, sources in place of their bytecode.
        split: for each split library the pieces of its file that a start reads; they are the last.

    """
    sizes = {file.path: file.size for file in trees.files(python)}
    found = dict.fromkeys(path for one in opened if (path := _find(one, sizes)) and path not in split)
    small = {path: [(0, sizes[path])] for path in found if 0 < sizes[path] <= WHOLE}
    lines = (
        ",".join(f"{first}+{length}" for first, length in pieces) + f" {path}\n"
        for path, pieces in (small | dict(split)).items()
    )
    (python / NAME).write_text("".join(lines), encoding="utf-8")


def _find(path: str, sizes: Mapping[str, int]) -> str | None:
    """Return the file that is read for a path: bytecode rather than its source."""
    return next((one for one in _list_names(path) if one in sizes), None)


def _list_names(path: str) -> Iterator[str]:
    if path.endswith(".py"):
        yield str(PurePosixPath(path).with_suffix(".pyc"))
    yield path
