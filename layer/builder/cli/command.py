"""What the commands share: how one is added to the parser, and how it reports progress."""

import argparse
import sys
from collections.abc import Callable
from typing import Any

Commands = Any
"""What ``add_subparsers`` returns; argparse has no public name for its type."""

RECIPE = "a name in layer/recipes, or a TOML file"
TARGET = "host, or a runtime and processor such as python3.13-arm64 (default: %(default)s)"


def add_command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], example: str, **texts: str
) -> argparse.ArgumentParser:
    """Add a command; one without a ``help`` text is a maintainers' command, which --help does not list."""
    command: argparse.ArgumentParser = commands.add_parser(
        name, epilog=f"example: python -m layer {name} {example}", **texts
    )
    # Accepted on either side of the command; a default here would overwrite the one before it.
    command.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    command.set_defaults(run=run)
    return command


def say(message: str, file: Any = None) -> None:
    """Print a line of progress."""
    # On standard output: `sam build` shows that as it comes, and errors only at the end.
    print(f"· {message}", file=file or sys.stdout, flush=True)
