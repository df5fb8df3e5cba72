"""What the commands of models share: a model's name, and the bucket."""

import argparse
from collections.abc import Callable
from typing import Any

from lambda_setup.commands.options import add_command, add_json, add_target
from lambda_setup.deployment import aws
from lambda_setup.deployment.local.application import open_model_bucket
from lambda_setup.models.bucket import ModelBucket


def add_model_command(
    group: Any, name: str, run: Callable[[argparse.Namespace], int], text: str, description: str = ""
) -> argparse.ArgumentParser:
    """Declare a command on a model of a bucket, which ``run`` carries out, and return its parser."""
    parser = add_command(group, name, run, help=text, description=description)
    parser.add_argument("name", metavar="NAME", help="the model's name; see: model list")
    add_bucket(parser)
    add_json(parser)
    return parser


def add_bucket(parser: argparse.ArgumentParser) -> None:
    """Declare in which bucket the models are."""
    add_target(
        parser,
        required=True,
        stack="deployed stack whose model bucket it is",
        bucket="model bucket itself",
        local="model bucket of the S3 that `make s3` serves",
    )


def open_bucket(options: argparse.Namespace) -> ModelBucket:
    """Return the bucket that the options name."""
    if options.local:
        return open_model_bucket()
    session = aws.open_session(options.region, options.profile)
    return aws.open_model_bucket(session, stack=options.stack, bucket=options.bucket)
