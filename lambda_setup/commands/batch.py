"""``batch``: a corpus of any size through the function, by Step Functions, on this machine or in AWS."""

import argparse
import json
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, cast

from lambda_inference._batches import manifest_key
from lambda_inference._shards import MAX_LINES
from lambda_setup import functions
from lambda_setup.batch.fetch import fetch
from lambda_setup.batch.run import Run, estimate_cost, plan
from lambda_setup.batch.run import run as run_batch
from lambda_setup.batch.store import (
    ResultBucket,
    delete_local_store,
    open_local_bucket,
    open_local_deployment,
)
from lambda_setup.commands.options import (
    account_arguments,
    add_command,
    add_dry_run,
    add_function,
    add_group,
    add_out,
    add_target,
    positive,
)
from lambda_setup.deployment import Deployment
from lambda_setup.deployment.aws import AwsDeployment, check_bucket, open_session, readable_errors
from lambda_setup.errors import CommandError
from lambda_setup.models.bucket import SHORT_VERSION
from lambda_setup.output import status, table

_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")


def configure_parser(commands: Any) -> None:
    """Declare the commands of a corpus."""
    group = add_group(commands, "batch", "answer a corpus of any size")
    parser = add_command(
        group,
        "run",
        run,
        help="answer every line of a corpus",
        description="Put a corpus into S3 unless it is there, cut it into shards of whole lines, and have "
        "Step Functions answer them. A shard takes a quarter of the function's timeout, as measured on a "
        "sample. The model version that the channel points to now answers all of them. Ctrl-C leaves the run "
        "going in AWS; the same command takes it up again, and answers only what has no answer yet. Exits 0 "
        "if every shard was answered; a line that fails has an error in its place.",
        example="python -m lambda_setup batch run corpus.txt --name first --stack translation",
    )
    parser.add_argument("input", metavar="INPUT",
                        help="file of lines, of JSON lines or of one JSON array; or "
                        "s3://BUCKET/inputs/… in the stack's result bucket")  # fmt: skip
    parser.add_argument("--format", choices=("text", "jsonl"),
                        help="what a line is: a text, or a JSON value (default: as found)")  # fmt: skip
    parser.add_argument("--name", type=_parse_name, required=True, metavar="RUN", help="name of the run")
    _add_target(parser)
    parser.add_argument("--request", type=_parse_request, default={}, metavar="JSON",
                        help="other fields of every request, such as '{\"beam\": 1}'")  # fmt: skip
    parser.add_argument("--lines", type=positive, metavar="N",
                        help="most lines of a shard (default: as many as the sample says)")  # fmt: skip
    add_function(parser, "with --local: function of this project")
    parser.add_argument("--model", type=Path, metavar="DIR",
                        help="with --local: folder of the model (default: the function's)")  # fmt: skip
    parser.add_argument("--workers", type=positive, metavar="N",
                        help="with --local: number of functions (default: one a core)")  # fmt: skip
    add_dry_run(parser, "print the objects to write and the execution to start")

    parser = add_command(
        group,
        "fetch",
        run_fetch,
        help="join a run's answers into one file",
        description="Write the answers to a corpus as JSON lines in its order, numbered from 0; a line "
        "without an answer has an error in its place. Arrays stand in the lines, as in an inline answer, or "
        "in a file of their own. Fails, and writes nothing, if any of them is missing.",
        example="python -m lambda_setup batch fetch first --out answers.jsonl --stack translation",
    )
    parser.add_argument("run_name", type=_parse_name, metavar="RUN", help="name of the run")
    add_out(parser, "FILE", "file to write", required=True)
    parser.add_argument("--arrays", type=_parse_arrays, metavar="FILE",
                        help="npz, or Parquet by pyarrow, to write arrays into (default: they stand in the "
                        "lines)")  # fmt: skip
    _add_target(parser)

    add_command(
        group,
        "clean",
        run_clean,
        help="delete the data of local runs",
        description="Delete the S3 that `batch run --local` keeps in .batches, with corpora and answers.",
    )


def run(options: argparse.Namespace) -> int:
    """Answer a corpus; 0 if every shard of it was answered."""
    if options.lines is not None and options.lines > MAX_LINES:
        raise CommandError(f"--lines {options.lines:,} is too many for a shard; give at most {MAX_LINES:,}")
    job = Run(name=options.name, source=options.input, request=options.request, most_lines=options.lines,
              format=options.format)  # fmt: skip
    with _open_deployment(options) as deployment, readable_errors(deployment.where):
        if options.stack:
            _ = deployment.state_machine  # a stack without one is refused before anything is uploaded
            parameters = cast("AwsDeployment", deployment).parameters
            for bucket in {deployment.result_bucket, deployment.environment()["MODEL_BUCKET"]}:
                check_bucket(deployment.client, bucket, parameters)
        if options.dry_run:
            for step in plan(deployment, job):
                print(step)
            return 0
        head = run_batch(deployment, job)
        where = f"--stack {options.stack}{account_arguments(options)}" if options.stack else "--local"
        status(f"next: python -m lambda_setup batch fetch {job.name} --out {job.name}.jsonl {where}")
        _print_summary(head, estimate_cost(deployment, head["ranges"], head["predict_ms"] / 1000))
    return 1 if head["failed_ranges"] else 0


def run_fetch(options: argparse.Namespace) -> int:
    """Join a run's answers; 0 if every line has one or an error of its own."""
    with _open_bucket(options) as bucket, readable_errors(f"s3://{bucket.name}"):
        return 0 if fetch(bucket, options.run_name, options.out, options.arrays) else 1


def run_clean(_: argparse.Namespace) -> int:
    """Delete the data of local runs."""
    delete_local_store()
    return 0


def _open_deployment(options: argparse.Namespace) -> AbstractContextManager[Deployment]:
    if not options.stack:
        model = options.model or functions.get(options.function).model
        return open_local_deployment(model, options.workers or 0)
    if options.model or options.workers:
        raise CommandError("--model and --workers are only for --local; leave them out")
    return nullcontext(AwsDeployment(open_session(options.region, options.profile), options.stack))


def _open_bucket(options: argparse.Namespace) -> AbstractContextManager[ResultBucket]:
    if not options.stack:
        return open_local_bucket()
    deployment = AwsDeployment(open_session(options.region, options.profile), options.stack)
    return nullcontext(ResultBucket(deployment.client, deployment.result_bucket))


def _print_summary(head: Mapping[str, Any], cost: str) -> None:
    rows = [
        ["lines answered", f"{head['done']:,}"],
        ["lines failed", f"{head['failed']:,}"],
        *([["hypotheses truncated", f"{truncated:,}"]] if (truncated := head.get("truncated")) else []),
        ["shards", f"{head['ranges']:,}"],
        ["shards failed", f"{head['failed_ranges']:,}"],
        ["shards retried", f"{head['retried']:,}"],
        ["model version", head["model"]["version"][:SHORT_VERSION] if head["model"] else "none"],
        ["manifest", manifest_key(head["run"])],
    ]
    if cost:
        rows.append(["cost", cost])
    table({"run": "left", head["run"]: "left"}, rows)


def _add_target(parser: argparse.ArgumentParser) -> None:
    add_target(
        parser,
        required=True,
        stack="deployed stack, with its parameter Batch=on",
        local="this machine; what it writes stays in .batches",
    )


def _parse_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError("a run's name has 1 to 60 of the characters A-Z, a-z, 0-9, _ and -")
    return text


def _parse_arrays(text: str) -> Path:
    if not text.endswith((".npz", ".parquet")):
        raise argparse.ArgumentTypeError(
            "arrays are written as numpy's npz or as Parquet; give a name that ends in .npz or .parquet"
        )
    return Path(text)


def _parse_request(text: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise argparse.ArgumentTypeError("a JSON object is needed, such as '{\"beam\": 1}'")
    for name in ("data", "source", "id", "result", "arrays", "errors", "model_version", "warmup"):
        if name in fields:
            raise argparse.ArgumentTypeError(f"{name} is up to the run; give the model's own fields")
    return fields
