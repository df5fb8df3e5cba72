"""The commands that write recipes: from a requirements file, and again with new pins."""

import argparse
import contextlib
from pathlib import Path

from layer.builder import build as builder
from layer.builder.cli.command import RECIPE, TARGET, Commands, add_command, say
from layer.builder.errors import RecipeError, ReportError
from layer.builder.recipe import FILE, RECIPES, load
from layer.builder.report import facts
from layer.builder.slim.explain import explain
from layer.builder.slim.metadata import list_wheel_owners
from layer.builder.target import get_target
from layer.builder.verify.imports import get_folders
from layer.builder.wheels import draft as drafts
from layer.builder.wheels import lock as locks
from layer.builder.wheels.draft import Draft
from layer.builder.wheels.wheel import cache_path

_WHEELS = builder.WORK / "wheels"


def add(commands: Commands) -> None:
    """Add the commands."""
    command = add_command(
        commands, "new", _new, "mine requirements.txt --smoke smoke.py",
        help="write a recipe from a requirements file",
        description="Resolve a requirements file, with all dependencies, for each target, and write "
        "layer/recipes/NAME: pins, locks, Makefiles for `sam build`, and how the layer is proven. A target "
        "for which there are no wheels is left out. All public modules of the packages that the file names "
        "are imported when the layer is built, and the files of these packages stay.",
    )  # fmt: skip
    command.add_argument("name", metavar="NAME", help="name of the recipe: lower-case letters, digits and _")
    command.add_argument("requirements", type=Path, metavar="FILE", help="requirements file, as pip reads it")
    command.add_argument("--smoke", type=Path, metavar="SCRIPT",
                         help="Python file whose answer() calls the packages and returns JSON")  # fmt: skip
    command.add_argument("--import", dest="imports", metavar="A,B",
                         help="packages whose public modules are imported, and stay (default: all that the "
                         "file names)")  # fmt: skip
    command.add_argument("--dry-run", action="store_true", help="print the recipe, and write nothing")
    command = add_command(
        commands, "pin", _pin, "mine",
        help="renew a recipe's pins",
        description="Resolve the requirements.txt in a recipe's folder again, write the new pins and locks, "
        "and print what changed. The next build of each target traces and proves anew.",
    )  # fmt: skip
    command.add_argument("recipe", metavar="RECIPE", help=RECIPE)
    command = add_command(
        commands, "explain", _explain, "torch/testing/__init__.py --recipe opennmt",
        help="say why a file is in a layer, or not",
        description="Print what decides whether a file of the packages stays: a rule, the trace, or a key of "
        "the recipe.",
    )  # fmt: skip
    command.add_argument("path", metavar="PATH", help="path of the file in the layer's python folder")
    command.add_argument("--recipe", required=True, metavar="RECIPE", help=RECIPE)
    command.add_argument("--target", default="host", metavar="TARGET", help=TARGET)


def _explain(options: argparse.Namespace) -> int:
    recipe, target = load(options.recipe), get_target(options.target)
    lock = locks.read(recipe, target)
    if lock is None:
        raise RecipeError(f"recipe {recipe.name} has no lock for {target.name}; build it first")
    whole = get_folders(recipe.smoke.imports) if recipe.smoke else ()
    wheels = [path for wheel in lock.wheels if (path := cache_path(_WHEELS, wheel)).is_file()]
    owners = list_wheel_owners(wheels) if len(wheels) == len(lock.wheels) else {}
    lines = explain(options.path, recipe, target, lock, whole, owners)
    with contextlib.suppress(ReportError):
        report = facts.read(builder.default_out(recipe, target) / facts.REPORT)
        names = {options.path, f"{options.path}c"}
        found = next((file for file in report.files if file.path in names), None)
        lines.append(
            f"the layer that was built has {f'its {found.bytes:,} bytes' if found else 'no such file'}"
        )
    print("\n".join(lines))
    return 0


def _new(options: argparse.Namespace) -> int:
    imports = tuple(filter(None, map(str.strip, (options.imports or "").split(","))))
    draft = Draft(RECIPES / options.name, options.requirements, options.smoke, imports)
    drafts.check(draft)
    targets = [get_target(name) for name in drafts.TARGETS]
    choices = drafts.resolve_targets(draft.requirements, targets, _WHEELS, say)
    if not imports:
        imports = drafts.find_imports(choices, targets, _WHEELS, say)
        draft = Draft(draft.folder, draft.requirements, draft.smoke, imports)
    if options.dry_run:
        print(drafts.format_recipe(draft, choices), end="")
        return 0
    drafts.write(draft, choices, targets)
    print(f"recipe   {draft.folder / FILE}\nnext     python -m layer build {options.name}")
    return 0


def _pin(options: argparse.Namespace) -> int:
    changes = drafts.renew(load(options.recipe), _WHEELS, say)
    print("\n".join(changes) or "the pins are the newest")
    return 0
