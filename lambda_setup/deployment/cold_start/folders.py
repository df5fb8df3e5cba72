"""What a process reads while it starts: folders as they are deployed, and out of the page cache again."""

import ctypes
import mmap
import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from layer.builder.build import WORK
from layer.builder.pack.bytecode import compile_tree
from layer.builder.pack.interpreter import find_compiler
from layer.builder.target import HOST, get_target


def copy(source: Path, target: Path) -> None:
    """Copy a folder as ``sam build`` does, into what is there."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)


def merge_layers(layers: Iterable[Path], target: Path) -> None:
    """Copy the ``python`` folders of layers into one, as Lambda mounts them, with bytecode for sources."""
    for layer in layers:
        copy(layer, target)
        if (layer.parent / "lib").is_dir():
            copy(layer.parent / "lib", target.parent / "lib")
    compiler = find_compiler(get_target(HOST), WORK / "interpreters")
    assert compiler is not None  # noqa: S101 - it is the one that runs
    compile_tree(target, compiler)


def list_files(folders: Collection[Path]) -> Iterator[Path]:
    """Yield the files in folders and in those that they link to."""
    for folder in folders:
        for parent, _, names in os.walk(folder, followlinks=True):
            yield from (path for name in names if (path := Path(parent, name)).is_file())


def drop(path: Path) -> None:
    """Drop what is in memory of a file."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def count_resident_pages(path: Path) -> int:
    """Return how many pages of a file are in memory, by mincore(2)."""
    if not path.stat().st_size:
        return 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as view:
        pages = (ctypes.c_ubyte * -(-len(view) // mmap.PAGESIZE))()
        first = ctypes.c_char.from_buffer(view)
        failed = ctypes.CDLL(None, use_errno=True).mincore(
            ctypes.byref(first), ctypes.c_size_t(len(view)), pages
        )
        del first
    if failed:
        raise OSError(ctypes.get_errno(), "mincore")
    return sum(page & 1 for page in pages)
