"""Recipes: what goes into a layer, as TOML files in ``layer/recipes``.

::

    name = "opennmt"
    engine = "opennmt"
    requirements = ["six==1.17.0", …]   # complete and pinned: nothing is added to it
    no_deps = ["OpenNMT-py==3.5.1"]     # whose own declarations are not believed
    left_out = ["sympy", …]             # what the others declare, and inference does not need

    [targets."python3.13-arm64"]
    requirements = ["torch==2.10.0"]
    left_out = ["setuptools"]
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECIPES = Path(__file__).resolve().parent / "recipes"

_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.+!_-]+)")
_REQUIRED = {"name", "engine"}
_LISTS = {"requirements", "no_deps", "left_out"}


class RecipeError(ValueError):
    """A recipe says something that cannot be built."""


@dataclass(frozen=True)
class Contents:
    """What a layer for one target consists of.

    Attributes:
        requirements: pins, ``name==version``, of all that goes in.
        no_deps: normalised names among them whose own declared dependencies do not count.
        left_out: normalised names that others declare and that stay out.

    """

    requirements: tuple[str, ...]
    no_deps: frozenset[str]
    left_out: frozenset[str]


@dataclass(frozen=True)
class Recipe:
    """What goes into a layer: in common, and for each target that needs something of its own."""

    name: str
    engine: str
    cpu_index: str
    common: Contents
    targets: dict[str, Contents]

    def contents(self, target: str) -> Contents:
        """Return what goes in for a target; its own pin of a name replaces the common one.

        Raises:
            RecipeError: the recipe distinguishes targets, and does not know this one.

        """
        if self.targets and target not in self.targets:
            raise RecipeError(f"recipe {self.name} has no target {target}; it has {', '.join(self.targets)}")
        own = self.targets.get(target, Contents((), frozenset(), frozenset()))
        pins = {_name(pin): pin for pin in (*self.common.requirements, *own.requirements)}
        return Contents(
            tuple(pins[name] for name in sorted(pins)),
            self.common.no_deps | own.no_deps,
            self.common.left_out | own.left_out,
        )


def normalise(name: str) -> str:
    """Return a distribution's name in its one spelling (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def load(name: str) -> Recipe:
    """Read a recipe by its name or by the path of its file.

    Raises:
        RecipeError: there is none, or it is not as it should be.

    """
    path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(found.stem for found in RECIPES.glob("*.toml")))
        raise RecipeError(f"there is no recipe {path}; known recipes: {known}")
    try:
        return parse(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, RecipeError) as error:
        raise RecipeError(f"{path}: {error}") from None


def parse(table: dict[str, Any]) -> Recipe:
    """Return the recipe that a TOML document states.

    Raises:
        RecipeError: a field is missing or unknown, or a requirement is not pinned.

    """
    if missing := _REQUIRED - table.keys():
        raise RecipeError(f"it lacks {', '.join(sorted(missing))}")
    if unknown := table.keys() - _REQUIRED - _LISTS - {"cpu_index", "targets"}:
        raise RecipeError(f"it has a field nobody reads: {', '.join(sorted(unknown))}")
    return Recipe(
        name=table["name"],
        engine=table["engine"],
        cpu_index=table.get("cpu_index", ""),
        common=_contents({key: table[key] for key in _LISTS & table.keys()}),
        targets={target: _contents(own) for target, own in table.get("targets", {}).items()},
    )


def _contents(table: dict[str, list[str]]) -> Contents:
    if unknown := table.keys() - _LISTS:
        raise RecipeError(f"it has a field nobody reads: {', '.join(sorted(unknown))}")
    no_deps = table.get("no_deps", [])
    requirements = (*table.get("requirements", []), *no_deps)
    for pin in requirements:
        if not _PIN.fullmatch(pin):
            raise RecipeError(f"{pin!r} is not pinned; write name==version")
    return Contents(
        tuple(requirements),
        frozenset(_name(pin) for pin in no_deps),
        frozenset(normalise(name) for name in table.get("left_out", [])),
    )


def _name(pin: str) -> str:
    return normalise(pin.partition("==")[0])
