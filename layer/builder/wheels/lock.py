"""Locks: the wheels of a target, each with its hash, in pip's own format, in the recipe's folder.

A lock is made once for a recipe's requirements, and again when they change. So every machine builds a
layer from the same bytes.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from layer.builder.recipe import Contents, Recipe, normalise
from layer.builder.target import Target
from layer.builder.tree import write_atomic
from layer.builder.wheels.resolve import Pip, Wheel, resolve, run_pip

_LINE = re.compile(r"(?P<name>\S+)==(?P<version>\S+) --hash=sha256:(?P<sha256>[0-9a-f]{64})  # (?P<file>\S+)")


@dataclass(frozen=True)
class Lock:
    """The wheels of a target, sorted by name, and the lock's file."""

    path: Path
    wheels: tuple[Wheel, ...]

    @property
    def digest(self) -> str:
        """The sha256 of the wheels' hashes, which a trace and a proof are recorded with."""
        return hashlib.sha256("\n".join(sorted(wheel.sha256 for wheel in self.wheels)).encode()).hexdigest()


def path_of(recipe: Recipe, target: Target) -> Path:
    """Return the path of a target's lock."""
    return recipe.folder / target.record / "wheels.lock"


def read(recipe: Recipe, target: Target) -> Lock | None:
    """Return a target's lock, or None if it is missing, damaged, or of other requirements."""
    path = path_of(recipe, target)
    if not path.is_file():
        return None
    header, *lines = path.read_text(encoding="utf-8").split("\n")
    matches = [match for line in lines if (match := _LINE.fullmatch(line))]
    contents = recipe.contents(target.name)
    required = {normalise(pin.partition("==")[0]) for pin in contents.requirements}
    whole = len(matches) == len(lines) - 1  # the last is empty
    if header != _format_header(contents) or not whole or {match["name"] for match in matches} != required:
        return None
    wheels = (Wheel(match["name"], match["version"], match["file"], match["sha256"]) for match in matches)
    return Lock(path, tuple(wheels))


def make(recipe: Recipe, target: Target, run: Pip = run_pip) -> Lock:
    """Resolve a recipe's requirements for a target, and write the lock."""
    wheels = resolve(recipe, target, run)
    path = path_of(recipe, target)
    lines = [f"{wheel.pin()}  # {wheel.file}" for wheel in wheels]
    write_atomic(path, "\n".join([_format_header(recipe.contents(target.name)), *lines]) + "\n")
    return Lock(path, wheels)


def _format_header(contents: Contents) -> str:
    text = repr((contents.requirements, sorted(contents.no_deps), sorted(contents.exclude)))
    return f"# requirements {hashlib.sha256(text.encode()).hexdigest()}"
