"""Distributions of a layer's lock of which nothing is left in the layer: a recipe may exclude them."""

import zipfile
from pathlib import Path

from layer.builder.report.facts import Report
from layer.builder.slim.globs import matches
from layer.builder.slim.prune import LICENCES
from layer.builder.wheels.lock import Lock
from layer.builder.wheels.wheel import cache_path


def list_unused(report: Report, lock: Lock, cache: Path) -> list[str]:
    """Return the names of the locked wheels none of whose files but licences are in a layer.

    A wheel that is no longer in the cache is not looked at: a build that finds its layer fetches none.
    """
    inside = {file.path for file in report.files if not matches(file.path, LICENCES)}
    names = {wheel.name for wheel in report.wheels}
    return [
        wheel.name
        for wheel in lock.wheels
        if wheel.name in names
        and (path := cache_path(cache, wheel)).exists()
        and inside.isdisjoint(_list_files(path))
    ]


def _list_files(wheel: Path) -> set[str]:
    """Return the paths that a wheel's files have in a layer, modules as sources and as bytecode."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    # PEP 427: x.data/purelib and x.data/platlib are installed beside the packages.
    paths = {name.partition("lib/")[2] if ".data/p" in name else name for name in names}
    return paths | {f"{path}c" for path in paths if path.endswith(".py")}
