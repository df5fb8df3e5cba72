"""Trees: folders of installed packages, with their files, sizes and digests."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from layer.builder.errors import TreeError
from layer.builder.files import file_sha256


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


def digest(tree: Path) -> str:
    """Return the sha256 of the paths and contents of a tree's files."""
    total = hashlib.sha256()
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
