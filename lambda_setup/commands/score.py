"""``model score``: how good a model is, measured through the function."""

import argparse
import functools

from lambda_setup import functions
from lambda_setup.deployment.local import predict
from lambda_setup.errors import CommandError
from lambda_setup.models.describe import describe
from lambda_setup.output import relative_path, status
from lambda_setup.viewer.show import load_show


def run(options: argparse.Namespace) -> int:
    """Answer the test split in a model's folder, and print its scores."""
    function = functions.for_engine(describe(options.folder).engine)
    show = load_show(function)
    if not hasattr(show, "score"):
        raise CommandError(f"{relative_path(function.code / 'show.py')} defines no score(); add one")
    status(f"starting S3 and the function with {relative_path(options.folder)}, and scoring its test split")
    for line in show.score(
        options.folder, functools.partial(predict, options.folder, timeout=900), options.beam
    ):
        print(line, flush=True)
    return 0
