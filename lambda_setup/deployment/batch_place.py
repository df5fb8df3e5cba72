"""Where a batch runs: a deployed stack, or this machine."""

import argparse
import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lambda_setup import functions
from lambda_setup.deployment import aws
from lambda_setup.deployment.local.application import RESULT_BUCKET, Stack
from lambda_setup.deployment.local.lambda_service import LambdaService
from lambda_setup.deployment.local.s3 import S3Server
from lambda_setup.deployment.local.stepfunctions import StepFunctions
from lambda_setup.functions import ROOT
from lambda_setup.models import channels
from lambda_setup.output import relative_path, status

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_stepfunctions import SFNClient

STORE = ROOT / ".batches"
"""What local runs keep."""
DEFINITION = ROOT / "statemachines" / "translate_corpus.asl.json"


@dataclass(frozen=True)
class Store:
    """The bucket that has corpora and results."""

    client: "S3Client"
    bucket: str

    def opened(self, key: str) -> "StreamingBody | None":
        """Return an object's bytes as a stream, None if there is no such object."""
        from botocore.exceptions import ClientError

        try:
            return self.client.get_object(Bucket=self.bucket, Key=key)["Body"]
        except ClientError as error:
            # To those who may not list, S3 says the second of what is not there.
            if error.response["Error"]["Code"] not in {"NoSuchKey", "AccessDenied"}:
                raise
        return None

    def put(self, key: str, data: bytes) -> None:
        """Write JSON."""
        self.client.put_object(Bucket=self.bucket, Key=key, Body=data, ContentType="application/json")


@dataclass(frozen=True)
class Place(Store):
    """A function with its bucket, and the state machine that sends it ranges.

    Attributes:
        states: Step Functions.
        machine: the state machine's ARN.
        call: sends an event to the function and returns its response, an error with its errorType.
        model: the name of the function's model.
        version: what its channel points to now.
        timeout: seconds.
        memory: megabytes.
        architecture: arm64 or x86_64.
        region: whose prices hold; empty on this machine, which costs nothing.
        workers: how many functions answer, where that is known.

    """

    states: "SFNClient"
    machine: str
    call: Any
    model: str
    version: str
    timeout: int
    memory: int
    architecture: str
    region: str
    workers: int = 0


@contextlib.contextmanager
def store(options: argparse.Namespace) -> Iterator[Store]:
    """Give the bucket of a place whose function is not needed."""
    if options.stack:
        import boto3

        with aws.explained(f"stack {options.stack}"):
            yield Store(boto3.client("s3"), aws.stack_output(options.stack, "ResultBucketName"))
        return
    if not STORE.exists():
        raise FileNotFoundError(
            f"there are no local runs: no {relative_path(STORE)}; start one with batch run --local"
        )
    with alone(), S3Server(folder=STORE) as server, aws.explained("local store"):
        yield Store(server.client(), RESULT_BUCKET)


@contextlib.contextmanager
def place(options: argparse.Namespace) -> Iterator[Place]:
    """Give the place that the command line names, with everything running."""
    if options.stack:
        if options.model or options.workers:
            raise ValueError("--model and --workers are of this machine; give --local for them")
        with aws.explained(f"stack {options.stack}"):
            yield _deployed(options.stack)
    else:
        with _local(options) as here, aws.explained("local store"):
            yield here


def _deployed(stack: str) -> Place:
    import boto3

    machine = aws.stack_output(stack, "BatchStateMachineArn", hint="deploy it with the parameter Batch=on")
    alias = aws.stack_output(stack, "FunctionAliasArn")
    ask, client, s3 = aws.function(alias), boto3.client("lambda"), boto3.client("s3")
    function = client.get_function_configuration(FunctionName=alias)
    settings = function["Environment"]["Variables"]
    name, bucket = settings["MODEL_NAME"], settings["MODEL_BUCKET"]
    pointer = channels.read(s3, bucket, name, settings["MODEL_CHANNEL"])
    if pointer is None:
        raise RuntimeError(f"there is no model {name} in s3://{bucket} yet; publish one")

    return Place(
        s3,
        settings["RESULT_BUCKET"],
        boto3.client("stepfunctions"),
        machine,
        lambda event: json.loads(ask(event)),
        name,
        pointer.version,
        function["Timeout"],
        function["MemorySize"],
        function["Architectures"][0],
        client.meta.region_name,
    )


@contextlib.contextmanager
def _local(options: argparse.Namespace) -> Iterator[Place]:
    folder = options.model or functions.named(options.function).model
    workers = options.workers or os.cpu_count() or 1
    with contextlib.ExitStack() as stack:
        stack.enter_context(alone())
        log = stack.enter_context((STORE / "functions.log").open("ab"))
        status(f"starting S3 in {relative_path(STORE)}, with the model in {relative_path(folder)}")
        application = stack.enter_context(Stack(folder, s3=S3Server(folder=STORE), log=log))
        status(
            f"starting {workers} functions, which log to {relative_path(STORE / 'functions.log')}, and Step Functions"
        )
        emulators = [stack.enter_context(application.function()) for _ in range(workers)]
        service = stack.enter_context(LambdaService(emulators))
        states = stack.enter_context(
            StepFunctions(
                env={**application.s3.environment(), "AWS_ENDPOINT_URL_LAMBDA": service.endpoint},
                log=stack.enter_context((STORE / "states.log").open("wb")),
            )
        )
        machine = states.create(
            definition(
                FunctionAliasArn="function",
                ResultBucket=RESULT_BUCKET,
                MaxConcurrency=str(workers),
                ToleratedFailurePercentage="100",
            )
        )
        yield Place(
            application.client,
            RESULT_BUCKET,
            states.client,
            machine,
            lambda event: service.invoke(json.dumps(event).encode()),
            application.manifest.name,
            application.manifest.version,
            emulators[0].timeout,
            1769,
            "x86_64",
            "",
            workers,
        )


def definition(**values: str) -> str:
    """Return the state machine's definition with its placeholders filled in, as CloudFormation does."""
    text = DEFINITION.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"${{{name}}}", value)
    return text


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Keep others from the local store."""
    STORE.mkdir(exist_ok=True)
    with (Path(STORE) / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(
                f"another batch command is using {relative_path(STORE)}; wait for it to end"
            ) from None
        yield
