"""``model promote`` and ``rollback``: move what a channel points to."""

import argparse
import functools
import sys
from typing import Any

from lambda_setup import functions
from lambda_setup.commands.model.options import add_model_command, open_bucket
from lambda_setup.commands.options import Commands, add_dry_run, add_renamed
from lambda_setup.deployment import aws, local
from lambda_setup.deployment.aws import readable_errors
from lambda_setup.deployment.local.layers import build_layers
from lambda_setup.errors import CommandError
from lambda_setup.models import moves
from lambda_setup.models.bucket import SHORT_VERSION, ModelBucket
from lambda_setup.models.channels import CHANNELS
from lambda_setup.models.describe import PublishedManifest
from lambda_setup.output import print_result, status

RELEASE_LENGTH = 6
"""Characters that the template's parameter Release takes."""


def configure_parser(group: Commands) -> None:
    """Declare the commands."""
    parser = add_model_command(
        group,
        "promote",
        promote,
        "test dev's version, then move prod to it",
        "Send the smoke request of dev's version to the function on this machine, or to a deployed one; "
        "prod moves to that version only if the answer is the one that was published with it.",
    )
    parser.add_argument("--try-on", metavar="STACK",
                        help="deployed stack that follows dev (default: this machine)")  # fmt: skip
    parser.set_defaults(function=None)
    add_renamed(parser, "--function", "--try-on STACK", dest="function")
    parser.add_argument("--snapshot", action="store_true",
                        help="then publish --stack's function again, for SnapStart")  # fmt: skip
    add_dry_run(parser, "print the move without making it")

    parser = add_model_command(
        group,
        "rollback",
        rollback,
        "move a channel back to where it was before its last move",
        "Move a channel back to where it was before its last move. Functions take that up as any other move.",
    )
    parser.add_argument(
        "--channel", choices=CHANNELS, default="prod", help="channel to move (default: %(default)s)"
    )
    add_dry_run(parser, "print the move without making it")


def promote(options: argparse.Namespace) -> int:
    """Test dev's version with its smoke request, then move prod to it."""
    if options.snapshot and not options.stack:
        raise CommandError("--snapshot publishes the function of a deployed stack; give --stack, too")
    if options.snapshot:
        session = aws.open_session(options.region, options.profile)
        aws.check_snapshot(session, options.stack, options.name)
    with readable_errors(f"channel prod of {options.name}"):
        bucket = open_bucket(options)
        invoke = functools.partial(_invoke_candidate, options, bucket)
        move = moves.promote(bucket, options.name, invoke, dry_run=options.dry_run)
    print_result(options.json, move, lambda: _print_promotion(move))
    if options.snapshot and not options.dry_run and not move["faults"]:
        status(f"publishing the function of stack {options.stack} with a snapshot of its model")
        if not aws.publish_again(session, options.stack, move["to"][:RELEASE_LENGTH]):
            status("it has a snapshot of this version already")
    return 1 if move["faults"] else 0


def _invoke_candidate(
    options: argparse.Namespace, bucket: ModelBucket, candidate: PublishedManifest, event: Any
) -> Any:
    """Send an event to a deployed function or to one on this machine, and return the response."""
    if candidate.smoke is None:
        status("the version has no smoke request: it is only loaded")
    if options.try_on or options.function:
        session = aws.open_session(options.region, options.profile)
        deployment = aws.AwsDeployment(session, options.try_on or "", function=options.function or "")
        status(f"testing {candidate.version[:SHORT_VERSION]} on {deployment.where}")
        return deployment.invoke(event)
    status("starting the function on this machine with the candidate")
    environment = {
        **bucket.environment,
        "MODEL_NAME": candidate.name,
        "MODEL_CHANNEL": "dev",
        "RESULT_BUCKET": "none",
        "ENGINE": candidate.engine,
    }
    code, layers = functions.for_engine(candidate.engine).code, build_layers(candidate.engine)
    with local.Emulator(code, layers=layers, env=environment) as function:
        return function.invoke(event)


def _print_promotion(move: moves.Move) -> None:
    version = move["to"][:SHORT_VERSION]
    if move["faults"]:
        before = (move["from"] or "nothing")[:SHORT_VERSION]
        print(f"prod stays at {before}: {version} fails its smoke test", file=sys.stderr)
        print("\n".join(f"  {fault}" for fault in move["faults"][:10]), file=sys.stderr)
    elif move["moved"]:
        print("moved", moves.describe_move(move))
    elif move["from"] == move["to"]:
        print(f"prod of {move['name']} already points to {version}")
    else:
        print(f"would test {version} with its smoke request, then move", moves.describe_move(move))


def rollback(options: argparse.Namespace) -> int:
    """Move a channel back to its version before the last move."""
    with readable_errors(f"channel {options.channel} of {options.name}"):
        move = moves.rollback(open_bucket(options), options.name, options.channel, dry_run=options.dry_run)
    verb = "moved" if move["moved"] else "would move"
    return print_result(options.json, move, lambda: print(verb, moves.describe_move(move)))
