"""Libraries that a wheel is linked to and does not carry, taken from a wheel that does.

lightgbm, for instance, is linked to ``libgomp.so.1``, which Lambda does not have. scikit-learn's wheel has
it under a name that auditwheel gave it; in the layer it gets the name that is asked for. There it lies in
``lib/``, which is on the loader's path in Lambda.
"""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from layer.builder.errors import RecipeError
from layer.builder.recipe import normalise
from layer.builder.wheels.lock import Lock
from layer.builder.wheels.wheel import cache_path

CARRIERS = {"libgomp.so.1": "scikit-learn==1.7.2"}
"""Wheels that carry a library, each for every target."""


def copy_libraries(libraries: Mapping[str, str], lock: Lock, cache: Path, folder: Path) -> None:
    """Write libraries into a folder, each from the locked wheel that a recipe names for it."""
    folder.mkdir(exist_ok=True)
    wheels = {wheel.name: wheel for wheel in lock.wheels}
    for name, pin in libraries.items():
        wheel = wheels[normalise(pin.partition("==")[0])]
        with zipfile.ZipFile(cache_path(cache, wheel)) as archive:
            member = find_member(archive.namelist(), name)
            if member is None:
                known = ", ".join(sorted(one for one in archive.namelist() if ".so" in one)) or "none"
                raise RecipeError(f"libraries: {wheel.file} does not carry {name}; its libraries: {known}")
            (folder / name).write_bytes(archive.read(member))


def find_carrier(lock: Lock, cache: Path, name: str) -> str | None:
    """Return the name of a locked wheel that carries a library, or the pin of one that is known to."""
    for wheel in lock.wheels:
        with zipfile.ZipFile(cache_path(cache, wheel)) as archive:
            if find_member(archive.namelist(), name):
                return wheel.name
    return CARRIERS.get(name)


def find_member(members: list[str], name: str) -> str | None:
    """Return the member of a wheel that is a library, under its own name or auditwheel's."""
    stem, _, version = name.partition(".so")
    pattern = re.compile(rf"{re.escape(stem)}(-[0-9a-f]{{6,}})?\.so{re.escape(version)}(\.\d+)*")
    return next((one for one in members if pattern.fullmatch(one.rpartition("/")[2])), None)
