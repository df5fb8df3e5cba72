"""``teardown``: a stack with all that it leaves behind."""

import argparse
from typing import Any

from lambda_setup.commands.options import account_arguments, add_account, add_command, add_dry_run
from lambda_setup.deployment import teardown
from lambda_setup.deployment.aws import open_session, readable_errors
from lambda_setup.errors import CommandError
from lambda_setup.output import status


def configure_parser(commands: Any) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "teardown",
        run,
        help="delete a stack with its buckets",
        description="Delete a stack and the buckets that it made, with all models, results, corpora, "
        "versions and delete markers in them; also those of a stack that `sam delete` has deleted, and "
        "those that a change of parameters left behind. Buckets that the stack was given stay. "
        "Shows what it will delete, and asks for the stack's name.",
        example="python -m lambda_setup teardown --stack translation --dry-run",
    )
    parser.add_argument(
        "--stack", metavar="NAME", required=True, help="stack of this template, also a former one"
    )
    add_account(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_dry_run(parser, "print what would be deleted, and how to keep the buckets")


def run(options: argparse.Namespace) -> int:
    """Delete a stack and what it leaves behind, once somebody has confirmed it."""
    session = open_session(options.region, options.profile)
    with readable_errors(f"stack {options.stack}"):
        remains = teardown.find(session, options.stack)
        for step in teardown.plan(remains):
            print(step)
        if remains.buckets:
            print(f"to keep the buckets: sam delete, and deploy again with {remains.adoption}")
        for name, owner in remains.given.items():
            print(f"stays: s3://{name}, which the stack was given" + _describe_owner(owner, options))
        if options.dry_run:
            return 0
        if not options.yes and _ask(options.stack) != options.stack:
            raise CommandError("nothing was deleted: type the stack's name to confirm, or give --yes")
        teardown.remove(session, remains, status)
    return 0


def _describe_owner(owner: str, options: argparse.Namespace) -> str:
    """Return how a bucket is removed that a stack of this project made; nothing where none did."""
    if not owner:
        return ""
    command = f"python -m lambda_setup teardown --stack {owner}{account_arguments(options)}"
    return f" and stack {owner} made: {command}"


def _ask(stack: str) -> str:
    """Return what somebody types in answer to the question, nothing where nobody is there."""
    try:
        return input(f"type {stack} to delete all of it for good: ").strip()
    except EOFError:
        return ""
