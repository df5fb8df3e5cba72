"""What the operator's commands ask of AWS."""

import contextlib
import os
from collections.abc import Iterator


def stack_output(stack: str, output: str, hint: str = "is it a stack of this template?") -> str:
    """Return an output of a deployed stack.

    Raises:
        RuntimeError: there is no such stack or output, or AWS did not answer.

    """
    import boto3

    with explained(f"stack {stack}"):
        [found] = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    for one in found.get("Outputs", []):
        if one.get("OutputKey") == output:
            return one.get("OutputValue", "")
    raise RuntimeError(f"stack {stack} has no output {output}; {hint}")


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


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn boto3's errors into one line that says what to do."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

    try:
        yield
    except NoCredentialsError:
        raise RuntimeError(f"{what}: no AWS credentials; run `aws configure`, or set AWS_PROFILE") from None
    except NoRegionError:
        raise RuntimeError(f"{what}: no region; set AWS_DEFAULT_REGION, or run `aws configure`") from None
    except ClientError as error:
        reason = error.response.get("Error", {})
        if reason.get("Code") == "PreconditionFailed":
            raise RuntimeError(
                f"{what}: somebody else changed it at the same time; look, and try again"
            ) from None
        raise RuntimeError(f"{what}: {reason.get('Code')}: {reason.get('Message')}") from None
    except BotoCoreError as error:
        raise RuntimeError(f"{what}: {error}") from None
