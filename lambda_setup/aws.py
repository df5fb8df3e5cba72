"""What the operator's commands ask of AWS."""

import contextlib
from collections.abc import Iterator


def stack_output(stack: str, output: str) -> str:
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
    raise RuntimeError(f"stack {stack} has no output {output}; is it a stack of this template?")


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


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn boto3's errors into one line that says what to do."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

    try:
        yield
    except NoCredentialsError:
        raise RuntimeError(f"{what}: no AWS credentials; run `aws configure`, or set AWS_PROFILE") from None
    except NoRegionError:
        raise RuntimeError(f"{what}: no region; set AWS_REGION, or run `aws configure`") from None
    except ClientError as error:
        reason = error.response.get("Error", {})
        if reason.get("Code") == "PreconditionFailed":
            raise RuntimeError(
                f"{what}: somebody else changed it at the same time; look, and try again"
            ) from None
        raise RuntimeError(f"{what}: {reason.get('Code')}: {reason.get('Message')}") from None
    except BotoCoreError as error:
        raise RuntimeError(f"{what}: {error}") from None
