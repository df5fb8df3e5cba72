"""The list of what a start reads of a layer; the runtime reads it ahead (``lambda_inference._read_ahead``).

Those are the files that the prediction opened. Of a large one, such as an engine's library, a start reads
some pages. They are recorded beside the lock, for layers that are built where nothing can predict.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from layer.builder import tree as trees
from layer.builder.recipe import Recipe
from layer.builder.slim.split import record
from layer.builder.slim.split.layout import PAGE
from layer.builder.slim.split.pages import Run, group
from layer.builder.target import Target

RECORD = "start.json"
"""The record of pages, beside the lock."""
WHOLE = 1 << 20
"""Bytes of the largest file that is read whole."""
GAP = 16
"""Pages between others that are read with them: the kernel maps so many around one that is touched."""

Present = Mapping[str, Sequence[int]]
"""Pages that were read when a prediction ended, by file."""


def get_name(recipe: str) -> str:
    """Return the name of a recipe's list: in Lambda the layers of a function are one folder."""
    return f"layer_start.{recipe}.txt"


def is_read(recipe: Recipe) -> bool:
    """Return whether a layer's list is read: by the runtime, which layers of libraries alone do not have."""
    return bool(recipe.engine or (recipe.smoke and recipe.smoke.function))


def cache_by_page(tree: Path) -> None:
    """Have the large files of a tree in the page cache, page by page.

    What the kernel reads in one go it keeps in huge pages, and a process that touches a byte of one has all
    of it in memory. Nobody sees then what was touched.
    """
    if not hasattr(os, "posix_fadvise"):
        return
    for one in trees.files(tree):
        if one.size > WHOLE:
            with suppress(OSError), (tree / one.path).open("rb", buffering=0) as file:
                os.fsync(file.fileno())  # what is not written yet stays
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
                while file.read(WHOLE):
                    pass


def find_pages(
    tree: Path,
    opened: Iterable[str],
    recipe: Recipe,
    target: Target,
    present: Present | None,
    say: Callable[[str], None],
    *,
    retrace: bool,
) -> dict[str, list[Run]]:
    """Return the pages that a start reads of large files of a tree that the prediction ``opened``.

    They are those that are recorded for these files. If one has no record, or to ``retrace``, they are those
    that were ``present``, and are recorded. Where nobody could tell, a file without a record is not read
    ahead, and ``say`` is called with its name.
    """
    wanted = {name for one in opened for name in _list_names(one)}
    large = [file.path for file in trees.files(tree) if file.size > WHOLE and file.path in wanted]
    hashes = {path: trees.file_sha256(tree / path) for path in large}
    recorded = record.read_known(recipe, target, hashes, RECORD)
    unknown = hashes.keys() - recorded.keys()
    if present is not None and (unknown or (retrace and large)):
        recorded = {path: group(present.get(path, ()), GAP) for path in large}
        record.write(recipe, target, hashes, recorded, RECORD)
    elif unknown:
        names = ", ".join(sorted(unknown))
        say(f"{names}: it is not recorded which pages a start reads, so none are read ahead")
    return recorded


def write(path: Path, opened: Iterable[str], pages: Mapping[str, Sequence[Run]]) -> None:
    """Write the list into a layer's ``python`` folder.

    Args:
        path: the list's.
        opened: paths of the files that the prediction opened, sources in place of their bytecode.
        pages: of large files the pages that a start reads; they are the last, and others are left out.

    """
    sizes = {file.path: file.size for file in trees.files(path.parent)}
    found = dict.fromkeys(name for one in opened if (name := _find(one, sizes)))
    small = {name: f"0+{sizes[name]}" for name in found if 0 < sizes[name] <= WHOLE}
    large = {
        name: ",".join(f"{first * PAGE}+{count * PAGE}" for first, count in runs)
        for name, runs in pages.items()
        if runs
    }
    lines = (f"{pieces} {name}\n" for name, pieces in (small | large).items())
    path.write_text("".join(lines), encoding="utf-8")


def _find(path: str, sizes: Mapping[str, int]) -> str | None:
    """Return the file that is read for a path: bytecode rather than its source."""
    return next((one for one in _list_names(path) if one in sizes), None)


def _list_names(path: str) -> Iterator[str]:
    if path.endswith(".py"):
        yield str(PurePosixPath(path).with_suffix(".pyc"))
    yield path
