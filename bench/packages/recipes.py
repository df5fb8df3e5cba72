"""A library's recipe: its requirements, resolved and pinned for each of its targets, and its smoke script."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomlkit

from bench.packages.catalogue import Package
from bench.packages.records import Record
from layer.builder.build import WORK
from layer.builder.recipe import Recipe, load, normalise
from layer.builder.target import Target
from layer.builder.wheels.draft import SPLIT
from layer.builder.wheels.resolve import resolve_file


def write_recipe(package: Package, pins: Sequence[str], folder: Path) -> Recipe:
    """Write a library's recipe of these pins into a folder, beside both scripts, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "smoke.py").write_text(package.smoke.lstrip(), encoding="utf-8")
    (folder / "other.py").write_text(package.other.lstrip(), encoding="utf-8")
    table: dict[str, Any] = {
        "name": package.name.lower(),
        "engine": "",
        **package.recipe,
        "requirements": list(pins),
        "split": [{"libraries": SPLIT}],
        "smoke": {"script": "smoke.py", "imports": list(package.imports)},
    }
    path = folder / "recipe.toml"
    path.write_text(tomlkit.dumps(table), encoding="utf-8")
    return load(str(path))


def find_pins(package: Package, target: Target, record: Record | None) -> list[str]:
    """Return the pins of a record of the same entry, so that its trees are made again; or resolve anew."""
    if record is not None and record.entry == package.digest:
        return [f"{name}=={version}" for name, version in record.versions.items()]
    return resolve(package, target)


def resolve(package: Package, target: Target) -> list[str]:
    """Return the complete pins of a library's requirements on a target, without those it excludes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requirements.txt"
        file.write_text("".join(f"{line}\n" for line in package.requirements), encoding="utf-8")
        wheels = resolve_file(file, target, WORK / "wheels")
    excluded = {normalise(name) for name in package.recipe.get("exclude", [])}
    return [wheel.requirement for wheel in wheels if wheel.name not in excluded]
