"""Recipes: the content of a layer, as folders in ``layer/recipes``.

::

    name = "opennmt"                    # default: the folder's name
    extends = "other"                   # parent recipe; this file overrides it, and adds to its requirements
    include = ["torch", …]              # parts/NAME.toml: requirements, patches, rules that recipes share
    engine = "opennmt"                  # functions of other engines refuse the layer (default: its name)
    strategy = "nested"                 # or direct, unless `layer build --strategy` says otherwise
    base_layer = "inference"            # recipe of the layer that is always deployed with this one
    cpu_index = "https://…"             # index of CPU builds, for when pip finds only CUDA builds
    requirements = ["six==1.17.0", …]   # complete and pinned; no dependency is added
    no_deps = ["OpenNMT-py==3.5.1"]     # pins whose declared dependencies are ignored
    exclude = ["sympy", …]              # distributions that stay out, pinned or not; a part's does not
                                        # count for what the recipe that includes it pins
    protect = ["pkg/data/**", …]        # globs of files to keep, whatever rules and trace say
    libraries = { "libx.so.1" = "y==1" }  # libraries that a wheel lacks, and a wheel to take each from
    package_data = ["**/*.json", …]     # globs of files to keep in every package that is used
    sources = ["numba/**", …]           # globs of modules whose sources stay beside their bytecode

    [targets."python3.13-arm64"]
    requirements = ["torch==2.10.0"]
    exclude = ["setuptools"]

    [smoke]                             # the prediction that traces and proves the layer
    script = "../function_smoke.py"     # relative to the recipe; its answer(**arguments) returns JSON
    prepare = "convert.py"              # runs first, with a folder to fill; answer gets it as `prepared`
    code = ["translation_function", …]  # modules it imports beside the layer, from the project's root
    function = […]                      # code deployed beside the layer (default: code)
    inputs = ["models/en-es/…", …]      # files it reads (default: the model's, by its model.toml)
    arguments = {…}                     # its "events" are files or folders, from the project's root
    imports = ["sklearn", …]            # packages whose public modules are all imported, and kept whole

    [[split]]                           # libraries whose code is unpacked when it is called
    libraries = ["x/lib/libx.so", …]    # globs of them; those with 1 MiB of code
    environments.x86_64 = [{X="1"}, …]  # variables by which they use other code: each is traced, too

    [[rules]]                           # in addition to slim/rules.toml: name, reason, globs
    [[patches]]                         # see slim/patch.py
    [lazy]                              # see slim/late/gate.py

A recipe is a folder: ``recipe.toml``, ``patches/``, and one folder a target with its Makefile, lock, trace
and proof. A recipe may also be a single file, ``NAME.toml``; its records are in ``NAME/``.
"""

import os
import re
import tomllib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from layer.builder.errors import RecipeError
from layer.builder.pack.plan import STRATEGIES
from layer.builder.slim.late.gate import NEVER, Later, Lazy
from layer.builder.slim.patch import STAGES, Patch
from layer.builder.slim.prune import Rule

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "layer" / "recipes"
PARTS = RECIPES / "parts"
COMMON_RULES = Path(__file__).resolve().parent / "slim" / "rules.toml"
FILE = "recipe.toml"
"""The file of a recipe's folder."""

_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.+!_-]+)")
_LISTS = {"requirements", "no_deps", "exclude"}
_SHARED = {
    "cpu_index", "targets", "rules", "patches", "protect", "package_data", "sources", "libraries", "split",
    "lazy",
}  # fmt: skip
_JOINED = _LISTS | {"rules", "patches", "protect", "package_data", "sources", "split"}
_ACTIONS = {"remove", "empty", "content", "old"}
_RENAMED = {"beside": "base_layer", "left_out": "exclude", "stage = mend": "fix", "stage = cut": "slim"}


@dataclass(frozen=True)
class Contents:
    """The distributions of a layer for one target: pins ``name==version``, and normalised names.

    ``donors`` are not installed: only a library is taken from each.
    """

    requirements: tuple[str, ...]
    no_deps: frozenset[str]
    exclude: frozenset[str]
    donors: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Smoke:
    """The prediction that traces and proves a layer; paths are from the project's root.

    Without a ``script`` it consists of ``imports`` alone.
    """

    script: Path | None
    code: tuple[Path, ...]
    inputs: tuple[Path, ...]
    arguments: dict[str, Any]
    prepare: Path | None = None
    function: tuple[Path, ...] = ()
    imports: tuple[str, ...] = ()


@dataclass(frozen=True)
class SplitLibraries:
    """Globs of libraries to split, and by architecture the environments in which they use other code."""

    libraries: tuple[str, ...]
    environments: dict[str, list[dict[str, str]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """The content of a layer: common to all targets, and each target's own.

    ``folder`` holds its locks, traces and proofs; ``text`` is that of all files that it was read from.
    """

    name: str
    engine: str
    cpu_index: str
    common: Contents
    targets: dict[str, Contents]
    folder: Path = RECIPES
    base_layer: "Recipe | None" = None
    smoke: Smoke | None = None
    strategy: str = "auto"
    rules: tuple[Rule, ...] = ()
    patches: tuple[Patch, ...] = ()
    protect: tuple[str, ...] = ()
    package_data: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    split: tuple[SplitLibraries, ...] = ()
    libraries: dict[str, str] = field(default_factory=dict)
    lazy: Lazy | None = None
    text: str = field(default="", repr=False)

    def contents(self, target: str) -> Contents:
        """Return the distributions for a target; its own pin of a name replaces the common one."""
        if self.targets and target not in self.targets:
            raise RecipeError(f"recipe {self.name} has no target {target}; it has {', '.join(self.targets)}")
        own = self.targets.get(target, Contents((), frozenset(), frozenset()))
        exclude = self.common.exclude | own.exclude
        pins = {_get_name(pin): pin for pin in (*self.common.requirements, *own.requirements)}
        pins = {name: pin for name, pin in pins.items() if name not in exclude}
        carriers = {_get_name(pin): pin for pin in self.libraries.values()}
        for name in carriers.keys() - pins.keys():
            if not _PIN.fullmatch(carriers[name]):
                raise RecipeError(f"libraries: {carriers[name]!r} is not pinned; write name==version")
        donors = frozenset(carriers.keys() - pins.keys())
        pins = {**carriers, **pins}
        return Contents(
            tuple(pins[name] for name in sorted(pins)),
            self.common.no_deps | own.no_deps | donors,
            exclude,
            donors,
        )


def normalise(name: str) -> str:
    """Return a distribution's name as PEP 503 normalises it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def load(name: str) -> Recipe:
    """Read a recipe by its name or by the path of its file, which the message of an error names."""
    path = Path(name) if name.endswith(".toml") else RECIPES / name / FILE
    if not os.path.isfile(path):  # noqa: PTH113 - it also says no to a path that is too long
        known = ", ".join(sorted(file.parent.name for file in RECIPES.glob(f"*/{FILE}")))
        raise RecipeError(f"there is no recipe {path}; known recipes: {known}")
    try:
        table, text, folders = _read(path.resolve())
        records = path.resolve().parent if path.name == FILE else path.resolve().with_suffix("")
        return parse(table, records, text, folders)
    except (OSError, tomllib.TOMLDecodeError, RecipeError) as error:
        raise RecipeError(f"{path}: {error}") from None
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise RecipeError(
            f"{path}: an entry is not of the type that it takes ({error}); docs/layers.md has each entry"
        ) from error


def _read(path: Path, children: tuple[Path, ...] = ()) -> tuple[dict[str, Any], str, list[Path]]:
    """Return a recipe's table merged with its parent's and parts', and the text and folders of all files."""
    if path in children:
        raise RecipeError(f"extends itself: {' → '.join(map(str, (*children, path)))}")
    text = path.read_text(encoding="utf-8")
    table, folders = _rename_old_keys(tomllib.loads(text), path), [path.parent]
    if path.name == FILE:
        table.setdefault("name", path.parent.name)
        if "extends" not in table:
            table.setdefault("engine", path.parent.name)
    if name := table.pop("extends", ""):
        in_folder = path.name == FILE
        sibling = path.parent.parent / name / FILE if in_folder else path.with_name(f"{name}.toml")
        parent, parent_text, parent_folders = _read(sibling, (*children, path))
        table = _merge(parent, table, {"requirements"})
        text, folders = text + parent_text, folders + parent_folders
    own = _list_pinned(table)
    for name in table.pop("include", []):
        file = PARTS / f"{name}.toml"
        if not file.is_file():
            known = ", ".join(sorted(part.stem for part in PARTS.glob("*.toml")))
            raise RecipeError(f"there is no part {name}; known parts: {known}")
        part_text = file.read_text(encoding="utf-8")
        part = _rename_old_keys(tomllib.loads(part_text), file)
        _check(part, set(), _LISTS | _SHARED, f"part {name}")
        for contents in (part, *part.get("targets", {}).values()):
            contents["exclude"] = [one for one in contents.get("exclude", []) if normalise(one) not in own]
        table = _merge(part, table, _JOINED)
        text, folders = text + part_text, [*folders, PARTS]
    return table, text, folders


def _list_pinned(table: dict[str, Any]) -> set[str]:
    """Return the normalised names that a recipe pins for any target, whatever its parts exclude."""
    contents = (table, *table.get("targets", {}).values())
    pins = (pin for one in contents for key in ("requirements", "no_deps") for pin in one.get(key, []))
    return {normalise(pin.partition("==")[0]) for pin in pins}


def _rename_old_keys(table: dict[str, Any], path: Path) -> dict[str, Any]:
    """Rename the keys and stages of the previous release in place, warn of each, and return the table."""
    found = set()
    for contents in (table, *table.get("targets", {}).values()):
        for old in _RENAMED.keys() & contents.keys():
            contents[_RENAMED[old]] = contents.pop(old)
            found.add(old)
    for patch in table.get("patches", []):
        if (old := f"stage = {patch.get('stage')}") in _RENAMED:
            patch["stage"] = _RENAMED[old]
            found.add(old)
    for old in sorted(found):
        warnings.warn(f"{path}: {old} is called {_RENAMED[old]} now; rename it", FutureWarning, stacklevel=2)
    return table


def _merge(base: dict[str, Any], own: dict[str, Any], joined: set[str]) -> dict[str, Any]:
    """Return a table's entries over those of another: tables merged, lists of some names joined."""
    merged = base | own
    for key in base.keys() & own.keys():
        if isinstance(base[key], dict):
            merged[key] = _merge(base[key], own[key], joined)
        elif key in joined:
            merged[key] = [*base[key], *own[key]]
    return merged


def parse(
    table: dict[str, Any], folder: Path = RECIPES, text: str = "", files: Sequence[Path] = ()
) -> Recipe:
    """Return the recipe of a TOML document; ``files`` are the folders to look for scripts and patches in."""
    _check(table, {"name"}, _LISTS | _SHARED | {"engine", "base_layer", "smoke", "strategy"}, "recipe")
    if (strategy := table.get("strategy", "auto")) not in STRATEGIES:
        raise RecipeError(f"strategy is one of {', '.join(STRATEGIES)}, not {strategy!r}")
    files = files or [folder.parent]
    return Recipe(
        name=table["name"],
        engine=table.get("engine", ""),
        cpu_index=table.get("cpu_index", ""),
        common=_parse_contents({key: table[key] for key in _LISTS & table.keys()}),
        targets={target: _parse_contents(own) for target, own in table.get("targets", {}).items()},
        folder=folder,
        base_layer=load(table["base_layer"]) if "base_layer" in table else None,
        smoke=_parse_smoke(table["smoke"], files) if table.get("smoke") else None,
        strategy=strategy,
        rules=parse_rules(table.get("rules", [])),
        patches=tuple(_parse_patch(patch, files) for patch in table.get("patches", [])),
        protect=tuple(table.get("protect", [])),
        package_data=tuple(table.get("package_data", [])),
        sources=tuple(table.get("sources", [])),
        split=tuple(_parse_split(one) for one in table.get("split", [])),
        libraries=table.get("libraries", {}),
        lazy=_parse_lazy(table["lazy"], files) if "lazy" in table else None,
        text=text,
    )


def load_common_rules() -> tuple[Rule, ...]:
    """Read the rules of every recipe."""
    return parse_rules(tomllib.loads(COMMON_RULES.read_text(encoding="utf-8"))["rules"])


def parse_rules(tables: list[dict[str, Any]]) -> tuple[Rule, ...]:
    """Return the rules of TOML tables."""
    for table in tables:
        _check(table, {"name", "reason", "globs"}, set(), "rule")
    return tuple(Rule(table["name"], table["reason"], tuple(table["globs"])) for table in tables)


def _parse_split(table: dict[str, Any]) -> SplitLibraries:
    _check(table, {"libraries"}, {"environments"}, "split")
    return SplitLibraries(tuple(table["libraries"]), table.get("environments", {}))


def _parse_lazy(table: dict[str, Any], folders: Sequence[Path]) -> Lazy:
    _check(table, {"verified", "packages"}, {"operations", "later"}, "lazy")
    for one in table.get("later", []):
        _check(one, {"registry", "entries", "reason"}, set(), "lazy.later")
        if one["registry"] in NEVER:
            raise RecipeError(
                f"lazy.later: {one['registry']} may not differ at all; leave out the patch that does it"
            )
    operations = _find_file(table["operations"], folders) if "operations" in table else None
    if operations and not operations.is_file():
        raise RecipeError(
            f"lazy: the script {folders[0] / table['operations']} does not exist; correct `operations`"
        )
    later = (Later(one["registry"], tuple(one["entries"]), one["reason"]) for one in table.get("later", []))
    return Lazy(tuple(table["verified"]), tuple(table["packages"]), operations, tuple(later))


def _find_file(name: str, folders: Sequence[Path]) -> Path:
    """Return a file of a recipe from the first folder that has it: its own, its parent's, or the parts'."""
    return next((folder / name for folder in folders if (folder / name).is_file()), folders[0] / name)


def _parse_smoke(table: dict[str, Any], folders: Sequence[Path]) -> Smoke:
    _check(table, set(), {"script", "prepare", "code", "function", "inputs", "arguments", "imports"}, "smoke")
    if "script" not in table and "imports" not in table:
        raise RecipeError('smoke: it takes script = "FILE", imports = ["PACKAGE"], or both')
    for script in (table[key] for key in ("script", "prepare") if key in table):
        if not _find_file(script, folders).is_file():
            raise RecipeError(f"smoke: there is no script {folders[0] / script}")
    code = tuple(ROOT / path for path in table.get("code", []))
    return Smoke(
        _find_file(table["script"], folders) if "script" in table else None,
        code,
        tuple(ROOT / path for path in table["inputs"]) if "inputs" in table else _list_model_files(table),
        table.get("arguments", {}),
        _find_file(table["prepare"], folders) if "prepare" in table else None,
        tuple(ROOT / path for path in table["function"]) if "function" in table else code,
        tuple(table.get("imports", [])),
    )


def _list_model_files(smoke: dict[str, Any]) -> tuple[Path, ...]:
    """Return the files of the model that a prediction loads, as its ``model.toml`` names them."""
    description = ROOT / smoke.get("arguments", {}).get("model", "") / "model.toml"
    if not description.is_file():
        return ()
    table = tomllib.loads(description.read_text(encoding="utf-8"))
    return (description, *(description.parent / name for name in table.get("files", [])))


def _parse_patch(table: dict[str, Any], folders: Sequence[Path]) -> Patch:
    required = {"name", "reason", "upstream", "stage", "path"}
    _check(table, required, _ACTIONS | {"new", "expects", "targets"}, f"patch {table.get('name', '?')}")
    actions = _ACTIONS & table.keys()
    if len(actions) != 1 or ("old" in table) != ("new" in table):
        raise RecipeError(
            f"patch {table['name']}: it takes one of remove, empty, content, or old and new; "
            f"got {', '.join(sorted(actions)) or 'none'}"
        )
    if table["stage"] not in STAGES:
        raise RecipeError(f"patch {table['name']}: stage is one of {', '.join(STAGES)}, not {table['stage']}")
    action = actions.pop()
    content = _find_file(table["content"], folders).read_text(encoding="utf-8") if action == "content" else ""
    return Patch(
        **{key: table[key] for key in required},
        action="replace" if action == "old" else action,
        content=content,
        old=table.get("old", ""),
        new=table.get("new", ""),
        expects=table.get("expects", {}),
        targets=tuple(table.get("targets", ())),
    )


def _parse_contents(table: dict[str, list[str]]) -> Contents:
    _check(table, set(), _LISTS, "target")
    no_deps = table.get("no_deps", [])
    requirements = (*table.get("requirements", []), *no_deps)
    for pin in requirements:
        if not _PIN.fullmatch(pin):
            raise RecipeError(f"{pin!r} is not pinned; write name==version")
    return Contents(
        requirements,
        frozenset(_get_name(pin) for pin in no_deps),
        frozenset(normalise(name) for name in table.get("exclude", [])),
    )


def _check(table: dict[str, Any], required: set[str], optional: set[str], whose: str) -> None:
    if missing := required - table.keys():
        raise RecipeError(f"{whose}: missing {', '.join(sorted(missing))}")
    if unknown := table.keys() - required - optional:
        raise RecipeError(f"{whose}: unknown {', '.join(sorted(unknown))}")


def _get_name(pin: str) -> str:
    return normalise(pin.partition("==")[0])
