"""The parser of all of the operator's commands."""

import argparse

from lambda_setup.commands import (
    batch,
    cold_start,
    cost,
    invoke,
    model,
    new,
    playground,
    results,
    servers,
    teardown,
)


def build_parser(program: str = "python -m lambda_setup") -> argparse.ArgumentParser:
    """Return the parser; ``program`` is how the usage calls it."""
    parser = argparse.ArgumentParser(
        prog=program, description="Run a function and manage its models, results and costs."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (invoke, servers, model, results, batch, playground, cost, new, cold_start, teardown):
        command.configure_parser(commands)
    commands.add_parser("layer", help="build and publish layers; see: python -m layer --help")
    return parser
