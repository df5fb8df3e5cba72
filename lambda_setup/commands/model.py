"""``model``: models in a bucket: published, listed, verified, promoted, rolled back, pruned, scored."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lambda_setup.commands import manage, promote, publish, score
from lambda_setup.commands.options import (
    add_command,
    add_dry_run,
    add_group,
    add_json,
    add_renamed,
    add_target,
    positive,
)
from lambda_setup.models.channels import CHANNELS
from lambda_setup.models.convert import QUANTIZATIONS


def configure_parser(commands: Any) -> None:
    """Declare the commands of models."""
    group = add_group(commands, "model", "manage the models in a bucket, and measure them")
    parser = add_command(
        group,
        "publish",
        publish.run,
        help="upload a model and point a channel to it",
        description="Upload the model in a folder, as a new version with a hash of every part, and point a "
        "channel to it. The same files are the same version, and only what S3 lacks is uploaded. Pickles "
        "that could run code are refused.",
        example="python -m lambda_setup model publish models/en-es --stack translation",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder with a model.toml")
    _add_bucket(parser)
    parser.add_argument("--name", metavar="NAME", help="name to publish it under (default: model.toml's)")
    parser.add_argument("--channel", choices=CHANNELS, default="dev", help="(default: %(default)s)")
    parser.add_argument("--engine", metavar="ENGINE", help="engine to convert it for; needs --name")
    parser.add_argument("--quantization", choices=QUANTIZATIONS,
                        help="of the converted weights (default: float32)")  # fmt: skip
    add_dry_run(parser, "print the objects to write")
    add_json(parser)

    parser = add_command(group, "list", manage.list_models, help="list the models in a bucket")
    _add_bucket(parser)
    add_json(parser)

    _add_model_command(group, "show", manage.show, "show a model's versions and how its channels moved")

    parser = _add_model_command(
        group,
        "verify",
        manage.verify,
        "read every byte of a version and compare it with its manifest",
        "Read every byte of a version and compare it with its manifest. Exits 1 if something is wrong.",
    )
    parser.add_argument("version", metavar="VERSION", help="dev, prod, or a version's first characters")

    parser = _add_model_command(
        group,
        "promote",
        promote.run,
        "test dev's version, then move prod to it",
        "Send the smoke request of dev's version to the function on this machine, or to a deployed one; "
        "prod moves to that version only if the answer is the one that was published with it.",
    )
    parser.add_argument("--try-on", metavar="STACK",
                        help="deployed stack that follows dev (default: this machine)")  # fmt: skip
    parser.set_defaults(function=None)
    add_renamed(parser, "--function", "--try-on STACK", dest="function")
    add_dry_run(parser, "print the move without making it")

    parser = _add_model_command(
        group,
        "rollback",
        manage.rollback,
        "move a channel back to where it was before its last move",
        "Move a channel back to where it was before its last move. Functions take that up as any other move.",
    )
    parser.add_argument("--channel", choices=CHANNELS, default="prod", help="(default: %(default)s)")
    add_dry_run(parser, "print the move without making it")

    parser = _add_model_command(
        group,
        "prune",
        manage.prune,
        "remove a model's old versions",
        "Remove a model's old versions. What a channel points to, or would be rolled back to, stays.",
    )
    parser.add_argument("--keep", type=positive, required=True, metavar="K", help="newest versions to keep")
    add_dry_run(parser, "print the versions to remove")

    parser = add_command(
        group,
        "score",
        score.run,
        help="translate the test split through the function, and score it",
        description="Run the function on this machine with a model, translate the test.en.gz in the model's "
        "folder and compare with its test.es.gz: BLEU and chrF as sacreBLEU computes them.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder with a model.toml")
    parser.add_argument("--beam", type=int, default=5, metavar="N", help="(default: %(default)s)")


def _add_model_command(
    group: Any, name: str, run: Callable[[argparse.Namespace], int], text: str, description: str = ""
) -> argparse.ArgumentParser:
    parser = add_command(group, name, run, help=text, description=description)
    parser.add_argument("name", metavar="NAME", help="the model's name; see: model list")
    _add_bucket(parser)
    add_json(parser)
    return parser


def _add_bucket(parser: argparse.ArgumentParser) -> None:
    add_target(
        parser,
        required=True,
        stack="deployed stack whose model bucket it is",
        bucket="model bucket itself",
        local="model bucket of the S3 that `make s3` serves",
    )
