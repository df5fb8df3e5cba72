"""The recipe that everyone copies for packages that are too big: a zip in the function, extracted to /tmp.

Written by us from its public description, that of serverless-python-requirements' ``zip`` option and
of many posts after it. It deletes tests, metadata and bytecode, and zips the packages as small as zip can. A
module that the handler imports first extracts them and puts them on ``sys.path``.
"""

import os
import sys
import zipfile
from pathlib import Path

_FOLDERS = ("tests", "test", "__pycache__")
_SUFFIXES = (".dist-info", ".egg-info", ".pyc", ".pyo")


def slim(tree: Path) -> None:
    """Delete from a tree what the recipe deletes."""
    import shutil

    for folder, folders, names in os.walk(tree):
        for name in [*folders, *names]:
            path = Path(folder, name)
            if not (name in _FOLDERS or name.endswith(_SUFFIXES)):
                continue
            if name in folders:
                shutil.rmtree(path)
                folders.remove(name)
            elif name.endswith(_SUFFIXES):
                path.unlink()


def pack(tree: Path, archive: Path) -> None:
    """Zip a tree, as ``zip -9 -r`` does."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for path in sorted(tree.rglob("*")):
            if path.is_file():
                file.write(path, path.relative_to(tree))


def extract(archive: Path, folder: Path) -> None:
    """Extract an archive, unless that was done before, and put the folder on ``sys.path``."""
    sys.path.append(str(folder))
    if folder.exists():
        return
    partial = folder.with_name(f"_temp-{folder.name}")
    with zipfile.ZipFile(archive) as file:
        file.extractall(partial)  # as the recipe does: the zip is our own, and its names are trusted
    partial.rename(folder)
