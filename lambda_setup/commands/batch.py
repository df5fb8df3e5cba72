"""``batch``: a corpus of any size through the function, by Step Functions, on this machine or in AWS."""

import argparse
import re
from pathlib import Path
from typing import Any

from lambda_setup.batch import fetch, run
from lambda_setup.commands import batch_clean as clean
from lambda_setup.commands.options import (
    add_command,
    add_dry_run,
    add_function,
    add_group,
    add_out,
    add_target,
    positive,
)

_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")


def configure_parser(commands: Any) -> None:
    """Declare the commands of a corpus."""
    group = add_group(commands, "batch", "answer a corpus of any size")
    parser = add_command(
        group,
        "run",
        run.run,
        help="answer every line of a corpus",
        description="Put a corpus into S3 unless it is there, cut it into ranges of whole lines that take a "
        "quarter of the function's timeout, as measured on a sample, and have Step Functions answer them, "
        "all by the model version that the channel points to now. Ctrl-C leaves the run going in AWS; the "
        "same command takes it up again, and answers only what has no answer yet. Exits 0 if every range "
        "was answered; a line that fails has an error in its place.",
        example="python -m lambda_setup batch run corpus.txt --name first --stack translation",
    )
    parser.add_argument("input", metavar="INPUT",
                        help="file of lines, or of JSON lines if its name ends in .jsonl; or "
                        "s3://BUCKET/inputs/… in the stack's result bucket")  # fmt: skip
    _add_run(parser, "--name")
    _add_target(parser)
    parser.add_argument("--request", type=_request, default={}, metavar="JSON",
                        help="other fields of every request, such as '{\"beam\": 1}'")  # fmt: skip
    parser.add_argument("--lines", type=positive, metavar="N",
                        help="most lines of a range (default: as many as the sample says)")  # fmt: skip
    add_function(parser, "with --local: function of this project")
    parser.add_argument("--model", type=Path, metavar="DIR",
                        help="with --local: folder of the model (default: the function's)")  # fmt: skip
    parser.add_argument("--workers", type=positive, metavar="N",
                        help="with --local: number of functions (default: one a core)")  # fmt: skip
    add_dry_run(parser, "print the objects to write and the execution to start")

    parser = add_command(
        group,
        "fetch",
        fetch.run,
        help="join a run's answers into one file",
        description="Write the answers to a corpus as JSON lines in its order, numbered from 0; a line "
        "without an answer has an error in its place.",
        example="python -m lambda_setup batch fetch first --out answers.jsonl --stack translation",
    )
    _add_run(parser, "run_name")
    add_out(parser, "FILE", "file to write", required=True)
    _add_target(parser)

    add_command(
        group,
        "clean",
        clean.run,
        help="delete the data of local runs",
        description="Delete the S3 that `batch run --local` keeps in .batches, with corpora and answers.",
    )


def _add_run(parser: argparse.ArgumentParser, name: str) -> None:
    required = {"required": True} if name.startswith("-") else {}
    parser.add_argument(name, type=_run, metavar="RUN", help="name of the run", **required)  # type: ignore[arg-type]


def _add_target(parser: argparse.ArgumentParser) -> None:
    add_target(
        parser,
        required=True,
        stack="deployed stack, with its parameter Batch=on",
        local="this machine; what it writes stays in .batches",
    )


def _run(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError("a run's name has 1 to 60 of the characters A-Z, a-z, 0-9, _ and -")
    return text


def _request(text: str) -> dict[str, Any]:
    import json

    try:
        fields = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise argparse.ArgumentTypeError("a JSON object is needed, such as '{\"beam\": 1}'")
    for name in ("data", "source", "id", "result", "errors", "model_version", "warmup"):
        if name in fields:
            raise argparse.ArgumentTypeError(f"{name} is up to the run; give the model's own fields")
    return fields
