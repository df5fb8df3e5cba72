"""``model score``: how good a model's translations are."""

import argparse
import functools
from pathlib import Path

from lambda_setup import functions
from lambda_setup.commands.options import Commands, add_command
from lambda_setup.deployment import local
from lambda_setup.errors import CommandError
from lambda_setup.models.describe import describe
from lambda_setup.output import relative_path, status
from lambda_setup.viewer.show import load_show


def configure_parser(group: Commands) -> None:
    """Declare the command."""
    parser = add_command(
        group,
        "score",
        score,
        help="translate the test split through the function, and score it",
        description="Run the function on this machine with a model, translate the test.en.gz in the model's "
        "folder and compare with its test.es.gz: BLEU and chrF as sacreBLEU computes them.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder with a model.toml")
    parser.add_argument(
        "--beam",
        type=int,
        default=5,
        metavar="N",
        help="hypotheses that the search keeps (default: %(default)s)",
    )


def score(options: argparse.Namespace) -> int:
    """Answer the test split in a model's folder, and print its scores."""
    function = functions.for_engine(describe(options.folder).engine)
    show = load_show(function)
    if not hasattr(show, "score"):
        raise CommandError(f"{relative_path(function.code / 'show.py')} defines no score(); add one")
    status(f"starting S3 and the function with {relative_path(options.folder)}, and scoring its test split")
    answer = functools.partial(local.predict, options.folder, timeout=900)
    for line in show.score(options.folder, answer, options.beam):
        print(line, flush=True)
    return 0
