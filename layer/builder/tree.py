"""Files that several processes may write, and trees of them: folders of installed packages."""

import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from layer.builder.errors import TreeError


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file, creating its folder, so that readers see the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_native_id()}")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def lock_exclusive(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the exclusive lock of a file or folder, which the kernel releases when the process ends.

    Without ``wait`` a lock that another process holds is a BlockingIOError.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class File:
    """A file of a tree: its relative path, with ``/``, and its bytes."""

    path: str
    size: int

    @property
    def package(self) -> str:
        """The top-level folder or module; ``x.libs`` and ``x-1.0.dist-info`` belong to x."""
        top = self.path.partition("/")[0]
        if top.endswith(".dist-info"):
            return top.partition("-")[0]
        return top.removesuffix(".libs").partition(".")[0] or top


def files(tree: Path) -> list[File]:
    """Return a tree's files, sorted by path; a link or a special file is a TreeError."""
    files = []
    for path in tree.rglob("*"):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise TreeError(f"{path} is a link or special file; a layer holds regular files only")
        if path.is_file():
            files.append(File(path.relative_to(tree).as_posix(), path.stat().st_size))
    return sorted(files, key=lambda file: file.path)


def size(folder: Path) -> int:
    """Return the bytes of a folder's files, as Lambda counts them."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def digest(*trees: Path) -> str:
    """Return the sha256 of the paths and contents of the files of one or several trees."""
    total = hashlib.sha256()
    for tree in trees:
        for file in files(tree):
            total.update(f"{file.path}\0{file_sha256(tree / file.path)}\n".encode())
    return total.hexdigest()


def remove(tree: Path, paths: list[str]) -> None:
    """Remove files, and folders that are then empty."""
    for path in paths:
        (tree / path).unlink()
    for folder in sorted({(tree / path).parent for path in paths}, reverse=True):
        while folder != tree and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent  # noqa: PLW2901


def folder_sha256(folder: Path) -> str:
    """Return a hash of the paths, sizes and contents of all files in a folder."""
    lines = []
    for path in folder.rglob("*"):
        if path.is_file():
            name = os.fsencode(path.relative_to(folder).as_posix())
            lines.append(name + f"\0{path.stat().st_size}\0{file_sha256(path)}\n".encode())
    return hashlib.sha256(b"".join(sorted(lines))).hexdigest()
