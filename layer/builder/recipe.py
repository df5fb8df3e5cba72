"""Recipes: what goes into a layer, as folders in ``layer/recipes``.

::

    name = "opennmt"
    extends = "other"                   # a recipe that this one is, with what is said here besides
    engine = "opennmt"                  # what the layer is for; a function with another one refuses it
    beside = "inference"                # the recipe of the layer that is always deployed with it
    requirements = ["six==1.17.0", …]   # complete and pinned: nothing is added to it
    no_deps = ["OpenNMT-py==3.5.1"]     # whose own declarations are not believed
    left_out = ["sympy", …]             # what the others declare, and inference does not need
    protect = ["pkg/data/**", …]        # globs of what stays, whatever rule or trace says
    package_data = ["**/*.json", …]     # globs of what stays of every package that is used at all

    [targets."python3.13-arm64"]
    requirements = ["torch==2.10.0"]
    left_out = ["setuptools"]

    [smoke]                             # the prediction that traces and proves the layer
    script = "../function_smoke.py"   # from the recipe's folder; its answer(**arguments) returns JSON
    prepare = "convert.py"              # run before, with a folder to fill; answer gets it as prepared
    code = ["translation_function", …]  # what it imports beside the layer, from the project's root
    function = […]                      # what is deployed beside the layer, if that is not the same
    inputs = ["models/en-es/…", …]      # files it reads, from the project's root
    arguments = {…}                     # its "events" are files or folders, from the project's root

    [[rules]]                           # besides those in rules.toml: name, reason, globs
    [[patches]]                         # see patch.py

A recipe is a folder: ``recipe.toml``, ``patches/``, and a folder a target with its Makefile, lock, trace and
proof. The records of a recipe that stands alone, ``NAME.toml``, are in ``NAME/``.
"""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from layer.builder.errors import RecipeError
from layer.builder.slim.patch import Patch
from layer.builder.slim.prune import Rule

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "layer" / "recipes"
COMMON_RULES = Path(__file__).resolve().parent / "slim" / "rules.toml"
_FILE = "recipe.toml"

_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.+!_-]+)")
_REQUIRED = {"name"}
_LISTS = {"requirements", "no_deps", "left_out"}
_OPTIONS = {
    "engine",
    "beside",
    "cpu_index",
    "targets",
    "smoke",
    "rules",
    "patches",
    "protect",
    "package_data",
}
_ACTIONS = {"remove", "empty", "content", "old"}


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
class Smoke:
    """The prediction that traces and proves a layer; paths are from the project's root."""

    script: Path
    code: tuple[Path, ...]
    inputs: tuple[Path, ...]
    arguments: dict[str, Any]
    prepare: Path | None = None
    function: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """What goes into a layer: in common, and for each target that needs something of its own.

    Attributes:
        engine: what the layer is for, if it is for one.
        beside: the recipe of the layer that is always deployed with this one.
        folder: where its locks, traces and proofs are.

    """

    name: str
    engine: str
    cpu_index: str
    common: Contents
    targets: dict[str, Contents]
    folder: Path = RECIPES
    beside: "Recipe | None" = None
    smoke: Smoke | None = None
    rules: tuple[Rule, ...] = ()
    patches: tuple[Patch, ...] = ()
    protect: tuple[str, ...] = ()
    package_data: tuple[str, ...] = ()
    text: str = field(default="", repr=False)

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
    path = Path(name) if name.endswith(".toml") else RECIPES / name / _FILE
    if not path.is_file():
        known = ", ".join(sorted(found.parent.name for found in RECIPES.glob(f"*/{_FILE}")))
        raise RecipeError(f"there is no recipe {path}; known recipes: {known}")
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
        folders = [path.resolve().parent]
        if base := table.pop("extends", ""):
            shared = _beside(path.resolve(), base)
            folders.append(shared.parent)
            table = _extended(tomllib.loads(shared.read_text(encoding="utf-8")), table)
            text += shared.read_text(encoding="utf-8")
        return parse(table, _records(path.resolve()), text, folders)
    except (FileNotFoundError, tomllib.TOMLDecodeError, RecipeError) as error:
        raise RecipeError(f"{path}: {error}") from None


def _records(path: Path) -> Path:
    """Return where the records of a recipe's targets are: beside ``recipe.toml``, or in ``NAME/``."""
    return path.parent if path.name == _FILE else path.with_suffix("")


def _beside(path: Path, name: str) -> Path:
    """Return the file of the recipe of a name that stands where this one does."""
    return path.parent.parent / name / _FILE if path.name == _FILE else path.with_name(f"{name}.toml")


def _extended(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return a table with another's entries over it: in tables each by itself, requirements besides."""
    merged = base | own
    for key in base.keys() & own.keys():
        if isinstance(base[key], dict):
            merged[key] = _extended(base[key], own[key])
        elif key == "requirements":
            merged[key] = [*base[key], *own[key]]
    return merged


def parse(
    table: dict[str, Any], folder: Path = RECIPES, text: str = "", files: Sequence[Path] = ()
) -> Recipe:
    """Return the recipe that a TOML document states.

    Args:
        table: the document.
        folder: where its locks, traces and proofs are.
        text: the document as it is written.
        files: the folders in which its scripts and patches are looked for, in this order.

    Raises:
        RecipeError: a field is missing or unknown, or a requirement is not pinned.

    """
    _check(table, _REQUIRED, _LISTS | _OPTIONS, "it")
    smoke, files = table.get("smoke"), files or [folder.parent]
    return Recipe(
        name=table["name"],
        engine=table.get("engine", ""),
        cpu_index=table.get("cpu_index", ""),
        common=_contents({key: table[key] for key in _LISTS & table.keys()}),
        targets={target: _contents(own) for target, own in table.get("targets", {}).items()},
        folder=folder,
        beside=load(table["beside"]) if "beside" in table else None,
        smoke=_smoke(smoke, files) if smoke else None,
        rules=rules(table.get("rules", [])),
        patches=tuple(_patch(one, files) for one in table.get("patches", [])),
        protect=tuple(table.get("protect", [])),
        package_data=tuple(table.get("package_data", [])),
        text=text,
    )


def common_rules() -> tuple[Rule, ...]:
    """Return the rules that hold for every recipe."""
    return rules(tomllib.loads(COMMON_RULES.read_text(encoding="utf-8"))["rules"])


def rules(tables: list[dict[str, Any]]) -> tuple[Rule, ...]:
    """Return the rules that TOML tables state."""
    for table in tables:
        _check(table, {"name", "reason", "globs"}, set(), "a rule")
    return tuple(Rule(table["name"], table["reason"], tuple(table["globs"])) for table in tables)


def _file(name: str, folders: Sequence[Path]) -> Path:
    """Return a file of a recipe, its own or that of the recipe which it extends."""
    return next((folder / name for folder in folders if (folder / name).is_file()), folders[0] / name)


def _smoke(table: dict[str, Any], folders: Sequence[Path]) -> Smoke:
    _check(table, {"script"}, {"prepare", "code", "function", "inputs", "arguments"}, "smoke")
    for script in (table["script"], table.get("prepare", table["script"])):
        if not _file(script, folders).is_file():
            raise RecipeError(f"smoke: there is no script {folders[0] / script}")
    code = tuple(ROOT / path for path in table.get("code", []))
    return Smoke(
        _file(table["script"], folders),
        code,
        tuple(ROOT / path for path in table.get("inputs", [])),
        table.get("arguments", {}),
        _file(table["prepare"], folders) if "prepare" in table else None,
        tuple(ROOT / path for path in table["function"]) if "function" in table else code,
    )


def _patch(table: dict[str, Any], folders: Sequence[Path]) -> Patch:
    required = {"name", "reason", "upstream", "stage", "path"}
    _check(table, required, _ACTIONS | {"new", "expects"}, f"patch {table.get('name', '?')}")
    actions = _ACTIONS & table.keys()
    if len(actions) != 1 or ("old" in table) != ("new" in table):
        raise RecipeError(
            f"patch {table['name']}: it takes one of remove, empty, content, or old and new; "
            f"got {', '.join(sorted(actions)) or 'none'}"
        )
    if table["stage"] not in {"mend", "cut"}:
        raise RecipeError(f"patch {table['name']}: stage is mend or cut, not {table['stage']}")
    expects = {
        path: expected if isinstance(expected, str) else tuple(expected)
        for path, expected in table.get("expects", {}).items()
    }
    action = actions.pop()
    content = _file(table["content"], folders).read_text(encoding="utf-8") if action == "content" else ""
    return Patch(
        name=table["name"],
        reason=table["reason"],
        upstream=table["upstream"],
        stage=table["stage"],
        path=table["path"],
        action={"old": "replace"}.get(action, action),
        content=content,
        old=table.get("old", ""),
        new=table.get("new", ""),
        expects=expects,
    )


def _contents(table: dict[str, list[str]]) -> Contents:
    _check(table, set(), _LISTS, "it")
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


def _check(table: dict[str, Any], required: set[str], optional: set[str], whose: str) -> None:
    if missing := required - table.keys():
        raise RecipeError(f"{whose} lacks {', '.join(sorted(missing))}")
    if unknown := table.keys() - required - optional:
        raise RecipeError(f"{whose} has a field nobody reads: {', '.join(sorted(unknown))}")


def _name(pin: str) -> str:
    return normalise(pin.partition("==")[0])
