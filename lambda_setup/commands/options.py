"""Options that mean the same in every command, each declared here once.

A command's module has ``configure_parser(commands)``, which declares it with ``add_command``, and
``run(options)``, which calls functions that take data and returns the exit code. A module of a noun with
several verbs, as ``model``, declares a group.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Commands = Any
"""Return type of ``ArgumentParser.add_subparsers``, to which argparse gives no public name."""


def add_group(commands: Commands, name: str, text: str) -> Commands:
    """Declare a noun that has several verbs, and return where they are declared."""
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    return parser.add_subparsers(required=True, metavar="COMMAND")


def add_command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    help: str,  # noqa: A002 - argparse's name
    description: str = "",
    example: str = "",
) -> argparse.ArgumentParser:
    """Declare a command that ``run`` carries out, and return its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=description or f"{help[0].upper()}{help[1:]}.",
        epilog=f"example: {example}" if example else None,
    )
    parser.set_defaults(run=run)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def add_target(
    parser: argparse.ArgumentParser,
    *,
    local: str = "this machine: the S3 that `make s3` serves",
    stack: str = "deployed stack (CloudFormation)",
    bucket: str = "",
    model: str = "",
    required: bool = False,
) -> Any:
    """Declare where a command works: ``--stack``, ``--local`` and, if described, ``--bucket`` or ``--model``.

    An empty description leaves an option out. ``--region`` and ``--profile`` come with ``--stack``.
    Returns the group, of which at most one option may be given.
    """
    group = parser.add_mutually_exclusive_group(required=required)
    if stack:
        group.add_argument("--stack", metavar="NAME", help=stack)
    if bucket:
        group.add_argument("--bucket", metavar="NAME", help=bucket)
    if local:
        group.add_argument("--local", action="store_true", help=local)
    if model:
        group.add_argument("--model", type=Path, metavar="DIR", help=model)
    if stack:
        add_account(parser)
    return group


def add_account(parser: argparse.ArgumentParser) -> None:
    """Declare ``--region`` and ``--profile``, which choose the AWS account and region."""
    parser.add_argument("--region", metavar="REGION", help="AWS region (default: the profile's)")
    parser.add_argument("--profile", metavar="NAME", help="AWS profile (default: AWS_PROFILE's)")


def add_function(
    parser: argparse.ArgumentParser,
    text: str = "function of this project: its folder's name without _function",
) -> None:
    """Declare ``--function``, which always names a function of this project."""
    parser.add_argument(
        "--function", metavar="NAME", default="translation", help=f"{text} (default: %(default)s)"
    )


def add_port(parser: argparse.ArgumentParser, default: int) -> None:
    """Declare ``--port``, on which a server of this machine listens; 0 takes any free one."""
    text = "%(default)s" if default else "any free one"
    parser.add_argument(
        "--port", type=int, default=default, metavar="N", help=f"port to listen on (default: {text})"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Declare ``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_dry_run(parser: argparse.ArgumentParser, text: str = "print the changes without making them") -> None:
    """Declare ``--dry-run``."""
    parser.add_argument("--dry-run", action="store_true", help=text)


def add_out(
    parser: argparse.ArgumentParser, metavar: str, text: str, *, required: bool = False, former: str = ""
) -> None:
    """Declare ``--out``, a file or folder to write; ``former`` is an option that it replaces."""
    group = parser.add_mutually_exclusive_group() if former else parser
    group.add_argument("--out", type=Path, metavar=metavar, help=text, required=required)
    if former:
        add_renamed(group, former, "--out", type=Path)


def add_renamed(parser: Any, former: str, option: str, *, dest: str = "", **arguments: Any) -> None:
    """Declare a former option, hidden in the help, that works and warns with the name of its successor.

    Its value goes to ``dest``, unless that is the successor's own place; ``arguments`` are the successor's.
    """
    parser.add_argument(
        former,
        dest=dest or option.lstrip("-").replace("-", "_"),
        action=_Renamed,
        option=option,
        default=argparse.SUPPRESS,
        help=argparse.SUPPRESS,
        **arguments,
    )


class _Renamed(argparse.Action):
    """An option under a former name."""

    def __init__(self, *arguments: Any, option: str, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.option = option

    def __call__(self, _: Any, namespace: argparse.Namespace, values: Any, former: Any = None) -> None:
        print(f"warning: {former} is deprecated; use {self.option}", file=sys.stderr)
        setattr(namespace, self.dest, values)


def positive(text: str) -> int:
    """Return the whole number from 1 on that an argument is."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def account_arguments(options: argparse.Namespace) -> str:
    """Return ``--region`` and ``--profile`` as given, to be put behind a command that is printed."""
    given = {name: getattr(options, name, None) for name in ("region", "profile")}
    return "".join(f" --{name} {value}" for name, value in given.items() if value)
