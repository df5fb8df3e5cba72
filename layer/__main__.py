"""The layer builder's command: ``python -m layer --help``."""

import argparse
import sys
from pathlib import Path

from layer.build import BuildError, build, verdict
from layer.recipe import RecipeError, load
from layer.resolve import ResolveError, resolve
from layer.target import TargetError, named


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _build(options)
    except (BuildError, RecipeError, ResolveError, TargetError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _build(options: argparse.Namespace) -> int:
    recipe, target = load(options.recipe), named(options.target)
    _say(f"looking for wheels: {recipe.name} for {target.name} ({target.runtime}, {target.architecture})")
    resolution = resolve(recipe, target)
    for wheel in resolution.wheels:
        _say(f"  {wheel.file}")
    if options.dry_run:
        return 0
    total = build(recipe, target, resolution, options.out, _say)
    _say(verdict(total))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m layer", description="Build a function's layers.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser(
        "build",
        help="build a layer from a recipe",
        description="Install a recipe's wheels for a target, without Docker, as DIR/python. A CUDA build is "
        "refused before it is fetched.",
        epilog="example: python -m layer build ctranslate2 --target python3.13-arm64 --out out",
    )
    command.add_argument("recipe", metavar="RECIPE", help="a name in layer/recipes, or a TOML file")
    command.add_argument("--target", default="host", metavar="TARGET",
                         help="host, or such as python3.13-arm64 (default: %(default)s)")  # fmt: skip
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="where python/ goes")
    command.add_argument("--dry-run", action="store_true", help="print what would be installed, and stop")
    return parser


def _say(message: str) -> None:
    # On standard output: `sam build` shows that as it comes, and errors only at the end.
    print(f"· {message}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
