"""``batch``: a corpus of any size through the function, by Step Functions, here or in AWS."""

import argparse
import re
from pathlib import Path
from typing import Any

from lambda_setup.batch import fetch, run
from lambda_setup.commands import batch_clean as clean

_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and what it can do."""
    group = commands.add_parser("batch", help="answer a corpus of any size").add_subparsers(
        required=True, metavar="COMMAND"
    )
    command = group.add_parser(
        "run",
        help="answer every line of a corpus",
        description="Put a corpus into S3 unless it is there, cut it into ranges of whole lines that take a "
        "quarter of the function's timeout, as measured on a sample, and have Step Functions answer them, "
        "all by the model version that the channel points to now. Ctrl-C leaves the run going in AWS; the "
        "same command takes it up again, and answers only what has no answer yet. Exits 0 if every range "
        "was answered; a line that cannot be has an error in its place.",
        epilog="example: python -m lambda_setup batch run corpus.txt --name first --stack translation",
    )
    command.add_argument("input", metavar="INPUT",
                         help="a file of lines, or of JSON lines if its name ends in .jsonl; or "
                         "s3://BUCKET/inputs/… in the stack's result bucket")  # fmt: skip
    _add_run(command, "--name")
    _add_place(command)
    command.add_argument("--request", type=_request, default={}, metavar="JSON",
                         help="the other fields of every request, such as '{\"beam\": 1}'")  # fmt: skip
    command.add_argument("--lines", type=int, metavar="N",
                         help="how many lines a range has at most "
                         "(default: as many as the sample says)")  # fmt: skip
    command.add_argument("--function", metavar="NAME", default="translation",
                         help="with --local: which function (default: %(default)s)")  # fmt: skip
    command.add_argument("--model", type=Path, metavar="DIR",
                         help="with --local: the model's folder (default: the function's)")  # fmt: skip
    command.add_argument("--workers", type=int, metavar="N",
                         help="with --local: how many functions answer (default: one a core)")  # fmt: skip
    command.add_argument("--dry-run", action="store_true", help="print what would be written and started")
    command.set_defaults(command=run.run)

    command = group.add_parser(
        "fetch",
        help="join a run's answers into one file",
        description="Write the answers to a corpus as JSON lines in its order, numbered from 0; a line "
        "without an answer has an error in its place.",
        epilog="example: python -m lambda_setup batch fetch first --out answers.jsonl --stack translation",
    )
    _add_run(command, "run")
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="where to write them")
    _add_place(command)
    command.set_defaults(command=fetch.run)

    command = group.add_parser(
        "clean",
        help="delete what local runs have left on this machine",
        description="Delete the S3 that `batch run --local` keeps in .batches, with corpora and answers.",
    )
    command.set_defaults(command=clean.run)


def _add_run(command: argparse.ArgumentParser, name: str) -> None:
    required = {"required": True} if name.startswith("-") else {}
    command.add_argument(name, type=_run, metavar="RUN", help="what the run is called", **required)  # type: ignore[arg-type]


def _add_place(command: argparse.ArgumentParser) -> None:
    place = command.add_mutually_exclusive_group(required=True)
    place.add_argument("--stack", metavar="STACK", help="the deployed stack, with its parameter Batch=on")
    place.add_argument(
        "--local", action="store_true", help="on this machine; what it writes stays in .batches"
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
