"""The layer builder's command: ``python -m layer --help``."""

import argparse
import sys
import warnings
from pathlib import Path

from layer.builder import build as builder
from layer.builder import interpreter
from layer.builder.errors import LayerError
from layer.builder.pack import bytecode
from layer.builder.pack.plan import STRATEGIES
from layer.builder.publish import layer as publish
from layer.builder.recipe import Recipe, load, load_common_rules
from layer.builder.report import facts as report
from layer.builder.report.table import table
from layer.builder.slim import patch
from layer.builder.target import Target, get_target
from layer.builder.wheels import lock as locks
from layer.builder.wheels.resolve import resolve


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments[:1] == ["mend"]:
        warnings.warn("`layer mend` is called `layer fix` now", FutureWarning, stacklevel=2)
        arguments[0] = "fix"
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except (LayerError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return code


def _build(options: argparse.Namespace) -> int:
    recipe, target = load(options.recipe), get_target(options.target)
    out = options.out or builder.default_out(recipe, target)
    job = builder.Job(recipe, target, out, options.strategy, options.trace)
    if options.dry_run:
        _print_plan(job)
        return 0
    done = builder.build(job, _say)
    print(table(done))
    print(f"\nlayer    {out / 'layer'}\nreport   {out / report.PAGE}")
    return 0


def _print_plan(job: builder.Job) -> None:
    recipe, target = job.recipe, job.target
    found = locks.read(recipe, target)
    if found is None:
        _say(f"looking for wheels: {recipe.name} for {target.name} ({target.runtime}, {target.architecture})")
        wheels = [wheel.file for wheel in resolve(recipe, target)]
    else:
        _say(f"locked in {found.path.name}")
        wheels = [wheel.file for wheel in found.wheels]
    _say("install")
    for file in wheels:
        print(f"    {file}")
    for stage in ("fix", "slim"):
        for one in recipe.patches:
            if one.stage == stage:
                _say(f"{stage}: {one.path} ({one.name})")
    for rule in (*load_common_rules(), *recipe.rules):
        _say(f"take out: {rule.name}, {rule.reason}")
    python = interpreter.find(target, job.interpreters)
    compiler = interpreter.find_compiler(target, job.interpreters)
    _say(f"trace and prove with {python.description}" if python else "take the recorded trace and proof")
    _say("strip every shared library, check it, and compare what it needs with the runtime")
    _say(f"byte-compile with {compiler.description}" if compiler else "leave sources as they are")
    _say(f"write {job.out / 'layer'}, strategy {job.strategy}")


def _fix(options: argparse.Namespace) -> int:
    recipe: Recipe = load(options.recipe)
    for one in recipe.patches:
        if one.stage != "fix" or patch.is_done(options.folder, one):
            continue
        # The package that the patch replaces may be installed.
        if one.action == "content" and (options.folder / one.path).with_suffix("").is_dir():
            continue
        patch.apply(options.folder, [one], "fix")
        _say(f"fixed {one.path} ({one.name})")
    return 0


def _interpreter(options: argparse.Namespace) -> int:
    target: Target = get_target(options.target)
    cache = builder.WORK / "interpreters"
    interpreter.fetch(target, cache, _say)
    for purpose, found in (
        ("runs the prediction", interpreter.find(target, cache)),
        ("compiles", interpreter.find_compiler(target, cache)),
    ):
        _say(f"{purpose}: {found.description if found else 'none'}")
    return 0


def _compile(options: argparse.Namespace) -> int:
    target = get_target(options.target)
    compiler = interpreter.find_compiler(target, builder.WORK / "interpreters")
    if compiler is None:
        _say(f"no Python here compiles for {target.name}: sources stay, and are compiled at each cold start")
    else:
        count = bytecode.compile_tree(options.folder, compiler)
        _say(f"compiled {count} modules with {compiler.description}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m layer", description="Build and publish a function's layers."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    recipe_help = "a name in layer/recipes, or a TOML file"
    target_help = "host, or such as python3.13-arm64 (default: %(default)s)"

    command = commands.add_parser(
        "build",
        help="build a layer from a recipe",
        description="Make a layer that fits Lambda, and prove that it still answers the same: install a "
        "recipe's locked wheels for a target, without Docker; take out what its rules name and what its "
        "smoke prediction does not open; strip, check, byte-compile; predict with what is left, alone; then "
        "lay it into the layer as it is, or as an archive if it is too big. A CUDA build is refused before "
        "it is fetched.",
        epilog="example: python -m layer build opennmt --target python3.13-arm64",
    )
    command.add_argument("recipe", metavar="RECIPE", help=recipe_help)
    command.add_argument("--target", default="host", metavar="TARGET", help=target_help)
    command.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="gets layer/, report.json and report.html (default: .layers/RECIPE-TARGET)",
    )
    command.add_argument(
        "--strategy",
        choices=STRATEGIES,
        default="auto",
        help="direct: files as they are; nested: an archive, unpacked at a cold start; auto: direct if it "
        "fits (default: %(default)s)",
    )
    command.add_argument(
        "--trace",
        action="store_true",
        help="trace the prediction anew, although a trace of these wheels is recorded",
    )
    command.add_argument("--dry-run", action="store_true", help="print what would be done, and stop")
    command.set_defaults(command=_build)

    publish.add_parser(commands)

    command = commands.add_parser(
        "interpreter",
        help="fetch a target's Python, to trace, prove and compile for it",
        description="Fetch the target's Python from Debian, with its C library, into .layers; nothing is "
        "installed. For another architecture than this machine's it runs under QEMU's user emulation.",
        epilog="example: python -m layer interpreter python3.13-arm64",
    )
    command.add_argument("target", metavar="TARGET", help="such as python3.13-arm64")
    command.set_defaults(command=_interpreter)

    command = commands.add_parser(
        "compile",
        help="replace a folder's sources by bytecode for a target",
        description="Compile a folder's modules for the target's Python, each into a .pyc in its place, as "
        "in the layers. Where no Python compiles for it, the sources stay.",
        epilog="example: python -m layer compile build/python --target python3.13-arm64",
    )
    command.add_argument("folder", type=Path, metavar="DIR", help="the folder that is on Python's path")
    command.add_argument("--target", default="host", metavar="TARGET", help=target_help)
    command.set_defaults(command=_compile)

    command = commands.add_parser(
        "fix",
        help="apply a recipe's fixes to a development environment",
        description="Apply the patches of stage fix, without which a recipe's packages do not run, to a folder where "
        "pip installed them. Applying them twice changes nothing.",
        epilog="example: python -m layer fix opennmt .venv/lib/python3.11/site-packages",
    )
    command.add_argument("recipe", metavar="RECIPE", help=recipe_help)
    command.add_argument("folder", type=Path, metavar="SITE_PACKAGES", help="where they are installed")
    command.set_defaults(command=_fix)
    return parser


def _say(message: str) -> None:
    # On standard output: `sam build` shows that as it comes, and errors only at the end.
    print(f"· {message}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
