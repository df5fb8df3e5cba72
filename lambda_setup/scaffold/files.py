"""Files of a new function: written all or none, remembered, and removed again where nobody changed them."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from lambda_setup.errors import CommandError
from lambda_setup.functions import ROOT
from lambda_setup.scaffold.places import Places
from layer.builder.tree import file_sha256, write_atomic

Files = dict[Path, Path | str]
"""Files to make, each with the file to copy or with its text."""

RECORDS = ROOT / ".layers" / "new"
"""What each function was made of: the files with their sha256."""
_BY_BUILDS = {"wheels.lock", "files.trace", "hot.json", "start.json", "proof.json"}


def write_files(files: Mapping[Path, Path | str]) -> None:
    """Write files, all or none."""
    written: list[Path] = []
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            written.append(path)
            if isinstance(content, str):
                path.write_text(content, encoding="utf-8")
            else:
                shutil.copyfile(content, path)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise


def remember(places: Places, root: Path = ROOT, records: Path = RECORDS) -> int:
    """Record every file of a new function, and return how many they are."""
    made = {
        str(path.relative_to(root)): file_sha256(path)
        for folder in places.all
        if folder.exists()
        for path in list_files(folder)
    }
    records.mkdir(parents=True, exist_ok=True)
    write_atomic(records / f"{places.name}.json", json.dumps(made, indent=1) + "\n")
    return len(made)


def undo(
    places: Places, *, dry_run: bool = False, root: Path = ROOT, records: Path = RECORDS
) -> tuple[list[str], list[str]]:
    """Remove what was made for a function, what builds recorded of it, and the layers that they made.

    Returns the files that were removed, and those that stay, because somebody wrote or changed them.

    Raises:
        CommandError: there is no record of it; the message names the folders.

    """
    record = records / f"{places.name}.json"
    if not record.is_file():
        folders = [str(path.relative_to(root)) for path in places.all if path.exists()]
        raise CommandError(
            f"there is no record of what `new {places.name}` made"
            + (f"; remove by hand what you do not need of {', '.join(folders)}" if folders else "")
        )
    made = json.loads(record.read_text(encoding="utf-8"))
    paths = [path for folder in places.all if folder.exists() for path in list_files(folder)]
    names = {str(path.relative_to(root)): path for path in paths}
    removed = [
        name
        for name, path in names.items()
        if (path.is_relative_to(places.recipe) and path.name in _BY_BUILDS)
        or (name in made and made[name] == file_sha256(path))
    ]
    if not dry_run:
        for name in removed:
            names[name].unlink()
        for folder in places.all:
            _remove_empty(folder)
        for target in ("host", "python*"):
            for layer in records.parent.glob(f"{places.name}-{target}"):
                shutil.rmtree(layer, ignore_errors=True)
        record.unlink()
    return removed, sorted(names.keys() - set(removed))


def _remove_empty(folder: Path) -> None:
    """Remove a folder and those below it that hold nothing but caches."""
    for cache in [*folder.rglob("__pycache__"), folder / ".aws-sam"]:
        shutil.rmtree(cache, ignore_errors=True)
    for stamp in folder.rglob(".aws-sam-stamp"):  # of `sam build`
        stamp.unlink()
    for path in sorted([folder, *folder.rglob("*")], reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def list_files(folder: Path) -> Iterator[Path]:
    """Yield a folder's files in order, without caches and hidden ones."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if path.is_file() and not any(part == "__pycache__" or part.startswith(".") for part in inside):
            yield path
