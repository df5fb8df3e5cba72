"""Locks: the wheels of a target, each with its hash, in pip's own format, in the recipe's folder.

A wheel that is built here is locked by its source distribution's hash and by its own.

A lock is made once for a recipe's requirements, and again when they change. So every machine builds a
layer from the same bytes.
"""

import hashlib
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from layer.builder.pack import kept as keeping
from layer.builder.pack.kept import Kept
from layer.builder.recipe import Contents, Recipe, normalise
from layer.builder.target import Target
from layer.builder.tree import write_atomic
from layer.builder.wheels.resolve import resolve
from layer.builder.wheels.tool import Pip
from layer.builder.wheels.wheel import Source, Wheel

_LINE = re.compile(
    r"(?P<name>\S+)==(?P<version>\S+) --hash=sha256:(?P<sha256>[0-9a-f]{64})  # (?P<file>\S+)"
    r"(?: builds (?P<wheel>\S+) sha256:(?P<built>[0-9a-f]{64}))?"
)


@dataclass(frozen=True)
class Lock:
    """The wheels of a target, sorted by name, and the lock's file.

    ``kept`` is what compiling leaves of the packages' sources, once that was tried.
    """

    path: Path
    wheels: tuple[Wheel, ...]
    kept: Kept | None = field(default=None, compare=False)

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
    kept = keeping.parse(lines)
    lines = [line for line in lines if not keeping.is_line(line)]
    matches = [match for line in lines if (match := _LINE.fullmatch(line))]
    contents = recipe.contents(target.name)
    required = {normalise(pin.partition("==")[0]) for pin in contents.requirements}
    whole = len(matches) == len(lines) - 1  # the last is empty
    if header != _format_header(contents) or not whole or {match["name"] for match in matches} != required:
        return None
    return Lock(path, tuple(map(_parse_line, matches)), kept)


def make(recipe: Recipe, target: Target, cache: Path, run: Pip | None = None) -> Lock:
    """Resolve a recipe's requirements for a target, and write the lock."""
    return write(recipe, target, resolve(recipe, target, cache, run))


def write(recipe: Recipe, target: Target, wheels: tuple[Wheel, ...]) -> Lock:
    """Write the lock of the wheels that a recipe's requirements were resolved to."""
    return _write(recipe, target, Lock(path_of(recipe, target), wheels))


def record_kept(recipe: Recipe, target: Target, lock: Lock, kept: Kept) -> Lock:
    """Record what compiling leaves of sources, unless the lock says so, and return the lock that does."""
    return lock if lock.kept == kept else _write(recipe, target, replace(lock, kept=kept))


def guess_kept(recipe: Recipe, target: Target) -> Kept | None:
    """Return what the lock of another target of the recipe has recorded, if any."""
    for path in sorted(recipe.folder.rglob("wheels.lock")):
        if path != path_of(recipe, target):
            kept = keeping.parse(path.read_text(encoding="utf-8").splitlines())
            if kept is not None:
                return kept
    return None


def _write(recipe: Recipe, target: Target, lock: Lock) -> Lock:
    lines = map(_format_line, lock.wheels)
    kept = lock.kept.format() if lock.kept is not None else []
    write_atomic(lock.path, "\n".join([_format_header(recipe.contents(target.name)), *kept, *lines]) + "\n")
    return lock


def _format_line(wheel: Wheel) -> str:
    if wheel.source:
        return f"{wheel.pin()}  # {wheel.source.file} builds {wheel.file} sha256:{wheel.sha256}"
    return f"{wheel.pin()}  # {wheel.file}"


def _parse_line(match: re.Match[str]) -> Wheel:
    if match["wheel"]:
        source = Source(match["file"], match["sha256"])
        return Wheel(match["name"], match["version"], match["wheel"], match["built"], source=source)
    return Wheel(match["name"], match["version"], match["file"], match["sha256"])


def _format_header(contents: Contents) -> str:
    text = repr((contents.requirements, sorted(contents.no_deps), sorted(contents.exclude)))
    return f"# requirements {hashlib.sha256(text.encode()).hexdigest()}"
