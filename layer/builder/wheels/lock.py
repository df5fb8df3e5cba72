"""Locks: which wheels a target gets, each by its hash, in pip's own form, beside the recipe.

A lock is made once for a recipe's requirements and read from then on; other requirements make
another. So every machine builds a layer from the same bytes.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from layer.builder.files import write_atomic
from layer.builder.recipe import Contents, Recipe, normalise
from layer.builder.target import Target
from layer.builder.wheels.resolve import Pip, Wheel, pip, resolve

_LINE = re.compile(r"(?P<name>\S+)==(?P<version>\S+) --hash=sha256:(?P<sha256>[0-9a-f]{64})  # (?P<file>\S+)")


@dataclass(frozen=True)
class Lock:
    """The wheels of a target.

    Attributes:
        digest: the sha256 of the wheels' own hashes: what a trace and a proof were made with.

    """

    path: Path
    wheels: tuple[Wheel, ...]

    @property
    def digest(self) -> str:
        """The sha256 of the wheels' hashes."""
        return hashlib.sha256("\n".join(sorted(wheel.sha256 for wheel in self.wheels)).encode()).hexdigest()


def path_of(recipe: Recipe, target: Target) -> Path:
    """Return where a target's lock stands."""
    return recipe.folder / target.record / "wheels.lock"


def read(recipe: Recipe, target: Target) -> Lock | None:
    """Return a target's lock, None where there is no whole one for what the recipe requires now."""
    path = path_of(recipe, target)
    if not path.is_file():
        return None
    header, *lines = path.read_text(encoding="utf-8").split("\n")
    found = [match for line in lines if (match := _LINE.fullmatch(line))]
    contents = recipe.contents(target.name)
    if header != _header(contents) or len(found) != len(lines) - 1:  # the last is empty
        return None
    if {match["name"] for match in found} != {
        normalise(pin.partition("==")[0]) for pin in contents.requirements
    }:
        return None
    return Lock(
        path, tuple(Wheel(match["name"], match["version"], match["file"], match["sha256"]) for match in found)
    )


def make(recipe: Recipe, target: Target, run: Pip = pip) -> Lock:
    """Resolve a recipe's requirements for a target, and write the lock.

    Raises:
        ResolveError: there are no such wheels.

    """
    wheels = resolve(recipe, target, run)
    path = path_of(recipe, target)
    lines = [_header(recipe.contents(target.name)), *(f"{wheel.pin()}  # {wheel.file}" for wheel in wheels)]
    write_atomic(path, "\n".join(lines) + "\n")
    return Lock(path, wheels)


def _header(contents: Contents) -> str:
    text = repr((contents.requirements, sorted(contents.no_deps), sorted(contents.exclude)))
    return f"# requirements {hashlib.sha256(text.encode()).hexdigest()}"
