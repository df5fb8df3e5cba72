"""What the operator's commands ask of AWS."""

import json
import os
from collections.abc import Callable
from typing import Any

from layer.builder.publish.aws import readable_errors


def stack_output(stack: str, output: str, hint: str = "is it a stack of this template?") -> str:
    """Return an output of a deployed stack.

    Raises:
        RuntimeError: there is no such stack or output, or AWS did not answer.

    """
    import boto3

    with readable_errors(f"stack {stack}"):
        [found] = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    for one in found.get("Outputs", []):
        if one.get("OutputKey") == output:
            return one.get("OutputValue", "")
    raise RuntimeError(f"stack {stack} has no output {output}; {hint}")


def function(name: str) -> Callable[[Any], str]:
    """Return what sends an event to a deployed function and returns its answer as it is, in JSON.

    It asks once, and waits for as long as Lambda may take: what takes its time is not to be asked for again.
    """
    import boto3
    from botocore.config import Config

    config = Config(read_timeout=960, retries={"total_max_attempts": 1}, tcp_keepalive=True)
    with readable_errors(f"function {name}"):
        client = boto3.client("lambda", config=config)

    def call(event: Any) -> str:
        with readable_errors(f"function {name}"):
            answer = client.invoke(FunctionName=name, Payload=json.dumps(event).encode())
            return answer["Payload"].read().decode()

    return call


def identity() -> str:
    """Return who is asking, as IAM calls them; "unknown" where AWS does not say."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    patience = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 1})
    try:
        return boto3.client("sts", config=patience).get_caller_identity()["Arn"]
    except (BotoCoreError, ClientError):
        return "unknown"


def environment() -> dict[str, str]:
    """Return the environment variables that give a function on this machine what this command may do."""
    import boto3

    session = boto3.Session()
    credentials = session.get_credentials()
    found = credentials.get_frozen_credentials() if credentials else None
    variables = {
        "AWS_ACCESS_KEY_ID": found and found.access_key,
        "AWS_SECRET_ACCESS_KEY": found and found.secret_key,
        "AWS_SESSION_TOKEN": found and found.token,
        "AWS_REGION": session.region_name,
        "AWS_ENDPOINT_URL_S3": os.environ.get("AWS_ENDPOINT_URL_S3"),
    }
    return {name: value for name, value in variables.items() if value}


explained = readable_errors
