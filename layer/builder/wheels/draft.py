"""From a requirements file to a recipe: its pins for each target, its smoke test, and its folder."""

import ast
import hashlib
import json
import os
import re
import shutil
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from layer.builder.errors import RecipeError, ResolveError
from layer.builder.recipe import FILE, RECIPES, Recipe, load, normalise
from layer.builder.target import Target, get_target
from layer.builder.tree import write_atomic
from layer.builder.wheels import lock as locks
from layer.builder.wheels import pins as pinning
from layer.builder.wheels.install import fetch
from layer.builder.wheels.lock import Lock
from layer.builder.wheels.resolve import CPU_INDEX, resolve_file
from layer.builder.wheels.wheel import Wheel, cache_path

Say = Callable[[str], None]
Choices = dict[str, tuple[Wheel, ...]]
"""The wheels of a requirements file, by the name of the target."""

REQUIREMENTS = "requirements.txt"
"""The file beside a recipe that says which packages it is for."""

_REFERENCE = re.compile(
    r"(?P<kind>-r|--requirement|-c|--constraint)(\s*=\s*|\s+|(?<=-[rc]))(?P<path>(?!\w+://)\S+)"
)
"""A line of a requirements file that names another one on this machine."""

TARGETS = ("python3.13-arm64", "python3.13-x86_64", "host")

SPLIT = ["**"]
"""The libraries that a recipe has split, as globs: those with enough code."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_NOT_MODULES = re.compile(r".*\.(dist-info|data|libs)|tests?|docs?|examples?|benchmarks?|__pycache__")
_MAKEFILES = RECIPES / "inference"


@dataclass(frozen=True)
class Draft:
    """A recipe to be: where it goes, the requirements file, and what exercises its packages.

    ``smoke`` is a script with an ``answer``, ``imports`` the packages whose public modules are all imported
    (default: those that the requirements file names).
    """

    folder: Path
    requirements: Path
    smoke: Path | None = None
    imports: tuple[str, ...] = ()


def check(draft: Draft) -> None:
    """Refuse a draft whose name, files or script are wrong, before anything is resolved."""
    name = draft.folder.name
    if not _NAME.fullmatch(name):
        raise RecipeError(f"{name!r} is not a name of a recipe: write lower-case letters, digits and _")
    if draft.folder.exists():
        raise RecipeError(f"{draft.folder} exists; `layer pin {name}` renews its pins, or remove it first")
    _check_file(draft.requirements)
    if draft.smoke:
        check_script(draft.smoke)


def check_script(path: Path) -> None:
    """Refuse a smoke script without a function ``answer``."""
    try:
        module = ast.parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, SyntaxError) as error:
        raise RecipeError(f"the smoke script {path} cannot be read: {error}") from None
    if not any(isinstance(node, ast.FunctionDef) and node.name == "answer" for node in module.body):
        raise RecipeError(
            f"{path} has no function answer; put what it does into one that returns the results as JSON:\n"
            "    def answer():\n"
            "        return [...]"
        )


def resolve_targets(
    file: Path, targets: Sequence[Target], cache: Path, say: Say, recipe: Recipe | None = None
) -> Choices:
    """Return the wheels for each target; one that lacks some is left out, unless all do.

    With a recipe they are those that it lacks: see ``resolve_own``. Targets have the same versions where they
    can: those that are there for the oldest Python of them.
    """
    choices: Choices = {}
    failures = {}
    for target in sorted(targets, key=lambda one: tuple(map(int, one.python.split(".")))):
        say(f"looking for wheels: {file} for {target.name}")
        first = next(iter(choices.values()), ())
        same = tuple(f"{wheel.name}=={wheel.version.partition('+')[0]}" for wheel in first)
        for constraints in (same, ()) if same else ((),):
            try:
                choices[target.name] = (
                    resolve_own(recipe, file, target, cache, constraints)
                    if recipe
                    else resolve_file(file, target, cache, constraints=constraints)
                )
                break
            except ResolveError as error:
                failures[target.name] = error
    if not choices:
        raise next(iter(failures.values()))
    for name, failure in failures.items():
        if name not in choices:
            say(f"WARNING: left out: {name}: {failure}")
    return {target.name: choices[target.name] for target in targets if target.name in choices}


def resolve_own(
    recipe: Recipe, file: Path, target: Target, cache: Path, constraints: Sequence[str] = ()
) -> tuple[Wheel, ...]:
    """Return the wheels of a requirements file that a recipe itself pins for a target.

    What its parts pin keeps their versions, and neither that nor what only that depends on is returned; what
    ``constraints`` pin beyond that keeps these.
    """
    table = tomllib.loads((recipe.folder / FILE).read_text(encoding="utf-8"))
    tables = (table, table.get("targets", {}).get(target.name, {}))
    own = {pin for one in tables for pin in one.get("requirements", [])}
    exclude = {normalise(name) for one in tables for name in one.get("exclude", [])}
    contents = recipe.contents(target.name)
    pins = {normalise(pin.partition("==")[0]): pin for pin in contents.requirements if pin not in own}
    shared = {name: pin for name, pin in pins.items() if name not in contents.donors}
    others = {name: pin for pin in constraints if (name := normalise(pin.partition("==")[0])) not in shared}
    wheels = resolve_file(file, target, cache, constraints=(*shared.values(), *others.values()))
    needed = _reach(wheels, {wheel.name for wheel in wheels if wheel.requested}, exclude | shared.keys())
    left_out = exclude | shared.keys() | (_reach(wheels, shared.keys()) - needed)
    return tuple(wheel for wheel in wheels if wheel.name not in left_out)


def _reach(wheels: Iterable[Wheel], start: Iterable[str], never: Iterable[str] = ()) -> set[str]:
    """Return names and those that their wheels depend on, directly or not, but for what is behind some."""
    requires = {wheel.name: wheel.requires for wheel in wheels}
    found: set[str] = set()
    ahead = set(start) - set(never)
    while ahead:
        found |= ahead
        ahead = {name for one in ahead for name in requires.get(one, ())} - found - set(never)
    return found


def extend(recipe: Recipe, file: Path, cache: Path, say: Say) -> str:
    """Return the text of a recipe that ends with [smoke], with what a requirements file adds to its parts.

    These are its pins for each target, and the packages that it names, whose modules are all imported.
    """
    if not file.is_file():
        raise RecipeError(f"the requirements file {file} does not exist")
    targets = [get_target(name) for name in reversed(recipe.targets or TARGETS)]
    choices = resolve_targets(file, targets, cache, say, recipe)
    imports = find_imports(choices, targets, cache, say)
    text = (recipe.folder / FILE).read_text(encoding="utf-8")
    lines = [*_list_indexes(choices), f"{text}imports = {json.dumps(imports)}"]
    return pinning.renew("\n".join(lines) + "\n", pinning.group(choices))


def _list_indexes(choices: Choices) -> list[str]:
    """Return a recipe's line with the index of CPU builds, if it pins torch."""
    torch = any(wheel.name == "torch" for wheels in choices.values() for wheel in wheels)
    return [f'cpu_index = "{CPU_INDEX}"'] if torch else []


def list_top_level(wheel: Path) -> list[str]:
    """Return the public packages and modules that a wheel brings, such as ``google.protobuf``."""
    with zipfile.ZipFile(wheel) as archive:
        paths = [name.split("/") for name in archive.namelist() if not name.endswith("/")]
    paths = [path for path in paths if not any(map(_NOT_MODULES.fullmatch, path[:-1]))]
    packages = {tuple(path[:-1]) for path in paths if path[-1] == "__init__.py" and len(path) > 1}
    outermost = {one for one in packages if not any(one[:end] in packages for end in range(1, len(one)))}
    names = {".".join(one) for one in outermost}
    names |= {
        path[0].partition(".")[0] for path in paths if len(path) == 1 and path[0].endswith((".py", ".so"))
    }
    public = {name for name in names if not name.startswith("_") and name not in {"setup", "conftest"}}
    return sorted(public or names)


def find_imports(choices: Choices, targets: Sequence[Target], cache: Path, say: Say) -> tuple[str, ...]:
    """Return the top-level packages of what the requirements file names, which is fetched for one target."""
    target = next(target for target in targets if target.name in choices)
    named = tuple(wheel for wheel in choices[target.name] if wheel.requested)
    fetch(Lock(Path(REQUIREMENTS), named), target, CPU_INDEX, cache, say)
    return tuple(sorted({name for wheel in named for name in list_top_level(cache_path(cache, wheel))}))


def format_recipe(draft: Draft, choices: Choices) -> str:
    """Return the text of a recipe's file."""
    smoke = ['script = "smoke.py"'] if draft.smoke else []
    if draft.imports:
        smoke.append(f"imports = {json.dumps(draft.imports)}")
    lines = [
        f"# {REQUIREMENTS} with all dependencies; `python -m layer pin {draft.folder.name}` renews the pins.",
        'base_layer = "inference"' if draft.folder.parent == RECIPES else 'engine = ""  # of any function',
        *_list_indexes(choices),
        "requirements = []",
        "",
        "[smoke]",
        *smoke,
        "",
        "# Code that the smoke test does not call is packed; it is unpacked when it is called.",
        "[[split]]",
        f"libraries = {json.dumps(SPLIT)}",
    ]
    return pinning.renew("\n".join(lines) + "\n", pinning.group(choices))


def write(draft: Draft, choices: Choices, targets: Sequence[Target]) -> Recipe:
    """Write a recipe's folder with its locks, whole or not at all, and return the recipe."""
    parent = draft.folder.parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".draft-", dir=parent) as name:
        folder = Path(name) / draft.folder.name
        folder.mkdir()
        (folder / REQUIREMENTS).write_text(flatten(draft.requirements, draft.folder), encoding="utf-8")
        if draft.smoke:
            shutil.copyfile(draft.smoke, folder / "smoke.py")
        (folder / FILE).write_text(format_recipe(draft, choices), encoding="utf-8")
        recipe = load(str(folder / FILE))
        for target in targets:
            if target.name in choices:
                locks.write(recipe, target, choices[target.name])
                if parent == RECIPES:
                    shutil.copyfile(_MAKEFILES / target.name / "Makefile", folder / target.name / "Makefile")
        folder.rename(draft.folder)
    return load(str(draft.folder / FILE))


def _check_file(requirements: Path) -> None:
    """Refuse a requirements file that is not there, or names nothing."""
    if not requirements.is_file():
        raise RecipeError(f"the requirements file {requirements} does not exist")
    lines = (line.strip() for line in flatten(requirements, requirements.parent).splitlines())
    if all(line.startswith(("#", "-c")) or not line for line in lines):
        raise RecipeError(f"the requirements file {requirements} names no package: write one a line")


def flatten(requirements: Path, folder: Path, before: tuple[Path, ...] = ()) -> str:
    """Return a requirements file's text for another folder, with the files in it that it refers to by ``-r``.

    Constraints, which pip takes from files alone, stay where they are. The files ``before`` led to this one.
    """
    lines = []
    before = (*before, requirements.resolve())
    if not requirements.is_file():
        raise RecipeError(
            f"the requirements file {requirements} does not exist, and another one refers to it"
        )
    for line in requirements.read_text(encoding="utf-8").splitlines():
        match = _REFERENCE.match(line.strip())
        if match is None:
            lines.append(line)
        elif match["kind"] in {"-r", "--requirement"}:
            other = requirements.parent / match["path"]
            if other.resolve() in before:
                raise RecipeError(f"the requirements file {other} refers to itself")
            lines.append(flatten(other, folder, before).rstrip("\n"))
        else:
            path = os.path.relpath(requirements.parent / match["path"], folder)
            lines.append(f"-c {Path(path).as_posix()}")
    return "\n".join([*lines, ""])


def draft_file(file: Path, target: Target, work: Path, say: Say) -> Recipe:
    """Return the recipe of a bare requirements file for a target; it is made once for a state of the file."""
    _check_file(file)
    stem = re.sub(r"[^a-z0-9]+", "_", file.stem.lower()).strip("_") or REQUIREMENTS
    state = hashlib.sha256(flatten(file, work).encode()).hexdigest()[:8]
    folder = work / "recipes" / target.name / f"{stem}_{state}"
    if not folder.is_dir():
        cache = work / "wheels"
        choices = resolve_targets(file, [target], cache, say)
        imports = find_imports(choices, [target], cache, say)
        write(Draft(folder, file, imports=imports), choices, [target])
    return load(str(folder / FILE))


def renew(recipe: Recipe, cache: Path, say: Say) -> list[str]:
    """Renew the pins and locks of a recipe by its requirements file, and return what changed, by line."""
    file, requirements = recipe.folder / FILE, recipe.folder / REQUIREMENTS
    if not requirements.is_file():
        raise RecipeError(
            f"recipe {recipe.name} has no {REQUIREMENTS}: write the packages that it is for into "
            f"{requirements}, one a line, and pin again"
        )
    targets = [get_target(name) for name in recipe.targets or TARGETS]
    choices = resolve_targets(requirements, targets, cache, say, recipe)
    if missing := [target.name for target in targets if target.name not in choices]:
        raise ResolveError(f"nothing is pinned anew, for {', '.join(missing)} has no wheels: see above")
    former = file.read_text(encoding="utf-8")
    write_atomic(file, pinning.renew(former, pinning.group(choices)))
    renewed = load(str(file))
    changes = []
    for target in targets:
        before, after = (set(one.contents(target.name).requirements) for one in (recipe, renewed))
        if lost := {wheel.requirement for wheel in choices[target.name]} - after:
            write_atomic(file, former)
            raise RecipeError(
                f"{file} is not laid out as `layer new` does it: pin {', '.join(sorted(lost))} there"
            )
        changes += [f"{target.name}: - {pin}" for pin in sorted(before - after)]
        changes += [f"{target.name}: + {pin}" for pin in sorted(after - before)]
    for target in targets:
        if locks.read(renewed, target) is None:
            locks.make(renewed, target, cache)
    return changes
